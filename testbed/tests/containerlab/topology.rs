//! A topology as containerlab reads it. Both drivers read this one; what a file says beyond the fields below is containerlab's.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// The name of the FRR image in the topologies.
pub(crate) const FRR_IMAGE: &str = "localhost/herald-testbed/frr:1";
/// The name of Herald's image in the topologies, whatever its version.
pub(crate) const HERALD_IMAGE: &str = "localhost/herald:lab";

#[derive(Debug, Deserialize)]
struct File {
    topology: Topology,
}

/// Nodes and links.
#[derive(Debug, Deserialize)]
pub(crate) struct Topology {
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) links: Vec<Link>,
}

/// A container, or a bridge.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Node {
    #[serde(default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) image: String,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// An interface with its addresses. Herald's image holds no program that could set them, so the driver does.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

/// A cable between two `NODE:INTERFACE`.
#[derive(Debug, Deserialize)]
pub(crate) struct Link {
    pub(crate) endpoints: [String; 2],
}

impl Topology {
    /// Reads `topology.clab.yml` of a lab's folder.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("topology.clab.yml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let file: File =
            serde_saphyr::from_str(&text).with_context(|| format!("{} is no topology", path.display()))?;
        let topology = file.topology;
        for link in &topology.links {
            for end in &link.endpoints {
                let (node, _) = split(end)?;
                ensure!(topology.nodes.contains_key(node), "{end} is of no node");
            }
        }
        Ok(topology)
    }

    /// The names of the bridges.
    pub(crate) fn bridges(&self) -> impl Iterator<Item = &String> {
        self.nodes.iter().filter(|(_, node)| node.kind == "bridge").map(|(name, _)| name)
    }

    /// The containers with FRR.
    pub(crate) fn routers(&self) -> impl Iterator<Item = &String> {
        self.nodes.iter().filter(|(_, node)| node.image == FRR_IMAGE).map(|(name, _)| name)
    }

    /// The containers with a speaker.
    pub(crate) fn speakers(&self) -> impl Iterator<Item = &String> {
        self.nodes.iter().filter(|(_, node)| node.image == HERALD_IMAGE).map(|(name, _)| name)
    }
}

/// Node and interface of an end of a cable.
pub(crate) fn split(end: &str) -> Result<(&str, &str)> {
    end.split_once(':').with_context(|| format!("{end} is not NODE:INTERFACE"))
}
