//! The published crates inside what ships, for the list of materials and for the licences that go with it.
//!
//! Build scripts and procedural macros run on the builder and ship nothing; they are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cargo;
use crate::image::VERSION;
use crate::image::digest::Digest;
use crate::image::platform::Platform;

/// The package whose program ships.
const ROOT: &str = "herald";

/// A crate as `cargo metadata` describes it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    license: Option<String>,
    repository: Option<String>,
    /// `None` for crates of this repository.
    source: Option<String>,
    manifest_path: String,
    targets: Vec<Target>,
}

#[derive(Clone, Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

/// What ships, and who needs whom among it.
pub(crate) struct Shipped {
    pub(crate) packages: BTreeMap<String, Package>,
    needs: BTreeMap<String, BTreeSet<String>>,
}

/// Reads what ships for some platforms.
pub(crate) fn shipped(platforms: &[Platform]) -> Result<Shipped> {
    let mut shipped = Shipped { packages: BTreeMap::new(), needs: BTreeMap::new() };
    for platform in platforms {
        let mut ask = cargo::command(&["metadata", "--format-version", "1"]);
        let output = ask.args(["--filter-platform", platform.target()]).output().context("cargo metadata")?;
        ensure!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        shipped.add(&serde_json::from_slice(&output.stdout).context("reading cargo metadata")?)?;
    }
    Ok(shipped)
}

impl Shipped {
    fn add(&mut self, metadata: &Metadata) -> Result<()> {
        let packages: BTreeMap<&str, &Package> =
            metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
        let nodes: BTreeMap<&str, &Node> =
            metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let root = metadata.packages.iter().find(|package| package.name == ROOT && package.source.is_none());
        let mut open = vec![root.context("no package herald")?.id.as_str()];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            let (package, node) = (packages[id], nodes[id]);
            if !seen.insert(id) || package.runs_on_the_builder() {
                continue;
            }
            self.packages.insert(id.to_owned(), package.clone());
            let needs = self.needs.entry(id.to_owned()).or_default();
            for edge in node.deps.iter().filter(|edge| edge.dep_kinds.iter().any(|kind| kind.kind.is_none()))
            {
                if !packages[edge.pkg.as_str()].runs_on_the_builder() {
                    needs.insert(edge.pkg.clone());
                    open.push(&edge.pkg);
                }
            }
        }
        Ok(())
    }

    /// The list of materials, in CycloneDX's form, without date and serial number: the same input gives the same bytes.
    pub(crate) fn materials(&self) -> Result<Vec<u8>> {
        let components: Vec<Value> = self
            .packages
            .values()
            .filter(|package| package.source.is_some())
            .map(Package::component)
            .collect();
        let dependencies: Vec<Value> = self
            .needs
            .iter()
            .map(|(id, needs)| {
                let needs: Vec<String> = needs.iter().map(|id| self.packages[id].url()).collect();
                json!({"ref": self.packages[id].url(), "dependsOn": needs})
            })
            .collect();
        let ours: Vec<Value> = self
            .packages
            .values()
            .filter(|package| package.source.is_none())
            .map(Package::component)
            .collect();
        let bom = json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {"component": {
                "type": "application", "name": "herald", "version": VERSION,
                "bom-ref": format!("herald@{VERSION}"), "components": ours,
            }},
            "components": components,
            "dependencies": dependencies,
        });
        let mut text = serde_json::to_vec_pretty(&bom).context("writing the list of materials")?;
        text.push(b'\n');
        Ok(text)
    }

    /// The licence texts that come with the crates, each text once, with the crates that it is of.
    pub(crate) fn licences(&self) -> Result<String> {
        let mut list = String::from("Herald contains these crates. Their licence texts follow the list.\n\n");
        let mut texts: BTreeMap<Digest, (String, BTreeSet<String>)> = BTreeMap::new();
        for package in self.packages.values().filter(|package| package.source.is_some()) {
            let licence = package.license.as_deref().unwrap_or("see its text");
            list.push_str(&format!("{} {}: {licence}\n", package.name, package.version));
            for text in package.licence_texts().with_context(|| format!("licences of {}", package.name))? {
                let entry =
                    texts.entry(Digest::of(text.as_bytes())).or_insert_with(|| (text, BTreeSet::new()));
                entry.1.insert(format!("{} {}", package.name, package.version));
            }
        }
        let mut sorted: Vec<(String, BTreeSet<String>)> = texts.into_values().collect();
        sorted.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        for (text, packages) in sorted {
            let packages: Vec<String> = packages.into_iter().collect();
            list.push_str(&format!("\n{}\n{}\n\n{}\n", "=".repeat(80), packages.join(", "), text.trim_end()));
        }
        Ok(list)
    }
}

impl Package {
    fn runs_on_the_builder(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }

    /// The package as a "package URL".
    fn url(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }

    fn component(&self) -> Value {
        let mut component = json!({
            "type": "library", "bom-ref": self.url(), "name": self.name, "version": self.version, "purl": self.url(),
        });
        if let Some(licence) = &self.license {
            // The old way to write "or".
            component["licenses"] = json!([{"expression": licence.replace('/', " OR ")}]);
        }
        if let Some(repository) = &self.repository {
            component["externalReferences"] = json!([{"type": "vcs", "url": repository}]);
        }
        component
    }

    fn licence_texts(&self) -> Result<Vec<String>> {
        let folder = Path::new(&self.manifest_path).parent().context("a manifest lies in a folder")?;
        let mut files: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        files.sort_by_key(fs::DirEntry::file_name);
        let mut texts = Vec::new();
        for file in files {
            let name = file.file_name().to_string_lossy().to_uppercase();
            let is_text = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"]
                .iter()
                .any(|head| name.starts_with(head));
            if is_text && file.path().is_file() {
                texts.push(String::from_utf8_lossy(&fs::read(file.path())?).into_owned());
            }
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        let package = |name: &str, source: Option<&str>, kind: &str| {
            json!({"id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0", "repository": null,
                   "source": source, "manifest_path": "/nowhere/Cargo.toml", "targets": [{"kind": [kind]}]})
        };
        let edge = |to: &str, kind: Option<&str>| json!({"pkg": to, "dep_kinds": [{"kind": kind}]});
        serde_json::from_value(json!({
            "packages": [
                package("herald", None, "bin"), package("used", Some("r"), "lib"), package("inner", Some("r"), "lib"),
                package("macros", Some("r"), "proc-macro"), package("builder", Some("r"), "lib"),
                package("tester", Some("r"), "lib"), package("stranger", Some("r"), "lib"),
            ],
            "resolve": {"nodes": [
                {"id": "herald", "deps": [edge("used", None), edge("macros", None), edge("tester", Some("dev"))]},
                {"id": "used", "deps": [edge("inner", None), edge("builder", Some("build"))]},
                {"id": "inner", "deps": []}, {"id": "macros", "deps": [edge("stranger", None)]},
                {"id": "builder", "deps": []}, {"id": "tester", "deps": []}, {"id": "stranger", "deps": []},
            ]},
        }))
        .expect("metadata")
    }

    #[test]
    fn only_what_is_linked_ships() {
        let mut shipped = Shipped { packages: BTreeMap::new(), needs: BTreeMap::new() };
        shipped.add(&metadata()).expect("a root");
        let names: Vec<&String> = shipped.packages.keys().collect();
        assert_eq!(names, ["herald", "inner", "used"]);
        let bom: Value = serde_json::from_slice(&shipped.materials().expect("JSON")).expect("JSON");
        assert_eq!(bom["components"].as_array().map(Vec::len), Some(2), "our own crates are the application");
        assert_eq!(bom["components"][0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(bom["dependencies"][2]["dependsOn"], json!(["pkg:cargo/inner@1.0.0"]));
    }

    #[test]
    fn the_real_program_ships_its_runtime_and_none_of_the_tests_and_builders() {
        let shipped = shipped(&[Platform::Amd64]).expect("cargo metadata");
        let has = |name: &str| shipped.packages.values().any(|package| package.name == name);
        for name in ["herald", "speaker", "speakerctl", "tokio", "rustls", "ring"] {
            assert!(has(name), "{name} ships");
        }
        for name in ["proptest", "cc", "serde_derive", "flate2", "xtask"] {
            assert!(!has(name), "{name} does not ship");
        }
        let licences = shipped.licences().expect("the crates are on this machine");
        assert!(
            licences.contains("Permission is hereby granted") && licences.contains("\nring "),
            "no texts"
        );
        assert_eq!(shipped.materials().expect("JSON"), shipped.materials().expect("JSON"));
    }
}
