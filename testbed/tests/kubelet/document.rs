//! The commands that a document tells people, taken from the document itself: a text that nobody can follow fails the story.

use std::cell::Cell;

use anyhow::{Context as _, Result, ensure};
use testbed::machine::repository;

/// A document under `docs`, with what was used of it.
pub(crate) struct Document {
    name: &'static str,
    blocks: Vec<Block>,
    /// Texts between single backticks, each on one line.
    spans: Vec<String>,
}

struct Block {
    /// What stands behind the backticks, e.g. `yaml`.
    kind: String,
    text: String,
    used: Cell<bool>,
}

impl Document {
    /// Reads `docs/NAME`.
    pub(crate) fn read(name: &'static str) -> Result<Self> {
        let path = repository().join("docs").join(name);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(Self::parse(name, &text))
    }

    fn parse(name: &'static str, text: &str) -> Self {
        let (mut blocks, mut prose) = (Vec::new(), String::new());
        // A block in a list is indented with it.
        for (number, part) in text.split("```").enumerate() {
            if number % 2 == 0 {
                prose.push_str(part);
            } else if let Some((kind, body)) = part.split_once('\n') {
                let body = body.trim_end_matches(' ');
                blocks.push(Block { kind: kind.to_owned(), text: body.to_owned(), used: Cell::new(false) });
            }
        }
        let one_line = |span: &str| span.split_whitespace().collect::<Vec<_>>().join(" ");
        let spans = prose.split('`').skip(1).step_by(2).map(one_line).collect();
        Self { name, blocks, spans }
    }

    /// The block that begins so. Each is for one use, unless it is asked for again by hand.
    pub(crate) fn block(&self, beginning: &str) -> Result<&str> {
        let block = self.blocks.iter().find(|block| block.text.starts_with(beginning));
        let block = block.with_context(|| format!("docs/{} has no block `{beginning}…`", self.name))?;
        block.used.set(true);
        Ok(&block.text)
    }

    /// The command in the running text that begins so.
    pub(crate) fn command(&self, beginning: &str) -> Result<&str> {
        let span = self.spans.iter().find(|span| span.starts_with(beginning));
        span.map(String::as_str).with_context(|| format!("docs/{} does not say `{beginning}…`", self.name))
    }

    /// Fails when a block was not used: then the story has left a step of the document out. `elsewhere` are the
    /// beginnings of those that cannot be used here, with the reason.
    pub(crate) fn ensure_used(&self, elsewhere: &[(&str, &str)]) -> Result<()> {
        for (beginning, reason) in elsewhere {
            println!(
                "  not played: `{}` ({reason})",
                self.block(beginning)?.lines().next().unwrap_or_default()
            );
        }
        let left: Vec<&str> = self.blocks.iter().filter(|block| !block.used.get()).map(Block::head).collect();
        ensure!(left.is_empty(), "blocks of docs/{} that this story does not play: {left:?}", self.name);
        Ok(())
    }
}

impl Block {
    fn head(&self) -> &str {
        self.text.lines().next().unwrap_or(&self.kind)
    }
}
