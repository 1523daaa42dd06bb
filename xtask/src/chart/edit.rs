//! Turns a manifest into a template by replacing lines that must be there.

use anyhow::{Context as _, Result, bail, ensure};

/// Where the containers of a workload begin, and how far what they have is indented.
const CONTAINERS: &str = "      containers:";
const INSIDE: &str = "        ";

/// A manifest on its way to a template.
pub(super) struct Template(String);

impl Template {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Replaces a text that occurs exactly once.
    pub(super) fn replace(&mut self, from: &str, to: &str) -> Result<()> {
        let count = self.0.matches(from).count();
        ensure!(count == 1, "{from:?} must occur once, and does {count} times");
        self.0 = self.0.replacen(from, to, 1);
        Ok(())
    }

    /// Replaces a text wherever it occurs, which must be somewhere.
    pub(super) fn replace_all(&mut self, from: &str, to: &str) -> Result<()> {
        ensure!(self.0.contains(from), "{from:?} does not occur");
        self.0 = self.0.replace(from, to);
        Ok(())
    }

    /// Puts lines behind a line that occurs exactly once.
    pub(super) fn after(&mut self, line: &str, lines: &str) -> Result<()> {
        self.replace(&format!("{line}\n"), &format!("{line}\n{lines}"))
    }

    /// Whatever names the namespace follows that of the release.
    pub(super) fn namespace(&mut self, namespace: &str) -> Result<()> {
        self.replace_all(namespace, "{{ .Release.Namespace }}")
    }

    /// What Prometheus or a description writes in double braces is text, not for Helm.
    pub(super) fn escape_braces(&mut self) {
        self.0 = self.0.replace("{{", "{{ \"{{\" }}");
    }

    /// The value of a line such as `  key: value` may be replaced by one of the chart's values.
    pub(super) fn value(&mut self, key: &str, path: &str) -> Result<()> {
        let head = format!("{key} ");
        let line =
            self.0.lines().find(|line| line.starts_with(&head)).with_context(|| format!("no {key:?}"))?;
        let (line, value) = (line.to_owned(), line[head.len()..].to_owned());
        self.replace(&format!("{line}\n"), &format!("{head}{{{{ .Values.{path} | default {value:?} }}}}\n"))
    }

    /// The block under a line such as `  key:` may be replaced by one of the chart's values, as a whole.
    pub(super) fn overridable(&mut self, key: &str, path: &str) -> Result<()> {
        let lines: Vec<&str> = self.0.lines().collect();
        // What a container has, the containers that prepare something have before it.
        let start = lines.iter().position(|line| *line == CONTAINERS).filter(|_| key.starts_with(INSIDE));
        let mut places = lines.iter().enumerate().skip(start.unwrap_or(0));
        let mut places = std::iter::from_fn(|| places.find(|(_, line)| **line == key)).map(|(at, _)| at);
        let (Some(at), None) = (places.next(), places.next()) else { bail!("{key:?} must occur once") };
        let depth = key.len() - key.trim_start().len();
        let inside = |line: &&&str| {
            let indent = line.len() - line.trim_start().len();
            indent > depth || (indent == depth && line.trim_start().starts_with("- "))
        };
        let count = lines[at + 1..].iter().take_while(inside).count();
        ensure!(count > 0, "there is nothing under {key:?}");
        let block = lines[at..=at + count].join("\n");
        let indent = " ".repeat(depth);
        let template = format!(
            "{indent}{{{{- with .Values.{path} }}}}\n{key}\n{indent}  {{{{- toYaml . | nindent {} }}}}\n{indent}{{{{- else }}}}\n{block}\n{indent}{{{{- end }}}}",
            depth + 2
        );
        let mut changed: Vec<&str> = lines[..at].to_vec();
        changed.push(&template);
        changed.extend(&lines[at + count + 1..]);
        self.0 = changed.join("\n") + "\n";
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_becomes_the_default_of_a_value() {
        let mut template = Template::new("a:\n  list:\n  - x: 1\n    y: 2\n  - z\n  next: 1\n".to_owned());
        template.overridable("  list:", "p.q").expect("it is there");
        assert_eq!(
            template.text(),
            "a:\n  {{- with .Values.p.q }}\n  list:\n    {{- toYaml . | nindent 4 }}\n  {{- else }}\n  list:\n  - x: 1\n    y: 2\n  - z\n  {{- end }}\n  next: 1\n"
        );
    }

    #[test]
    fn what_a_container_has_is_not_taken_from_one_that_prepares() {
        let list =
            |image: &str| format!("      - image: {image}\n        resources:\n          a: {image}\n");
        let text = format!("      initContainers:\n{}      containers:\n{}", list("first"), list("second"));
        let mut template = Template::new(text);
        template.overridable("        resources:", "p").expect("once among the containers");
        let before = template.text().split("      containers:").next().expect("a first part");
        assert!(
            !before.contains("{{") && template.text().contains("{{- with .Values.p }}"),
            "{}",
            template.text()
        );
    }

    #[test]
    fn a_line_that_is_not_there_or_there_twice_is_an_error() {
        let mut template = Template::new("a: 1\nb:\n  c: 1\nb:\n".to_owned());
        assert!(template.replace("d", "e").is_err());
        assert!(template.replace(": 1", "e").is_err());
        assert!(template.overridable("b:", "p").is_err());
        assert!(template.overridable("z:", "p").is_err());
        assert!(template.value("q:", "p").is_err());
        template.value("a:", "p").expect("once");
        assert!(template.text().starts_with("a: {{ .Values.p | default \"1\" }}\n"), "{}", template.text());
    }
}
