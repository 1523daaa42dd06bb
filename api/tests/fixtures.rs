//! The manifests that the API server must take or refuse: here the types and the checks of `Config` say the same.
//!
//! The same files are applied to a real API server by the system tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use api::config::{Config, PasswordSecret, Resources};
use api::herald::SpeakerState;
use api::v1beta1::{ConfigurationState, ServiceBGPStatus, ServiceL2Status};
use api::v1beta2::BGPPeer;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Refused by the schema and without meaning for `Config`, which does not act on the object.
const SCHEMA_ONLY: [&str; 1] = ["l2-weight-zero"];

#[test]
fn good_manifests_are_read_and_accepted() {
    let mut resources = Resources::default();
    for file in manifests("tests/fixtures/good") {
        for object in documents(&file) {
            add(&mut resources, &object).unwrap_or_else(|fault| panic!("{}: {fault}", file.display()));
        }
    }
    let (config, rejections) = Config::build(&resources, &Config::default());
    let lines: Vec<String> = rejections
        .iter()
        .map(|rejection| format!("{}: {}", rejection.object, rejection.reason.word()))
        .collect();
    assert_eq!(
        lines,
        [
            // What the manifests ask for and this version does not have; each is said on its own object.
            "BGPPeer everything: VRFNotImplemented",
        ]
    );
    assert_eq!(config.pools.len(), resources.pools.len());
    assert_eq!(config.peers.len(), resources.peers.len());
    assert_eq!(config.advertisements.len(), resources.advertisements.len());
}

#[test]
fn samples_are_read_and_accepted() {
    let mut resources = Resources::default();
    for file in manifests("../manifests/samples") {
        for object in documents(&file).iter().filter(|object| object["kind"] != "Service") {
            add(&mut resources, object).unwrap_or_else(|fault| panic!("{}: {fault}", file.display()));
        }
    }
    let (config, rejections) = Config::build(&resources, &Config::default());
    assert_eq!(rejections, []);
    let address = "10.0.4.1".parse().expect("an address");
    assert_eq!(config.pool_of(address).map(|pool| pool.name.as_str()), Some("home"));
}

#[test]
fn bad_manifests_say_what_is_expected_and_are_rejected_here_too() {
    for file in manifests("tests/fixtures/bad") {
        let name = file.file_stem().expect("a listed file has a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).expect("a listed file can be read");
        assert!(text.starts_with("# expect: "), "{name} says what it expects");
        for object in documents(&file) {
            let mut resources = Resources::default();
            let accepted = match add(&mut resources, &object) {
                Err(_) => false,
                Ok(()) => Config::build(&resources, &Config::default()).1.is_empty(),
            };
            assert_eq!(accepted, SCHEMA_ONLY.contains(&name.as_str()), "{name}");
        }
    }
}

fn manifests(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).expect("the folder is part of the repository");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds manifests", folder.display());
    files
}

fn documents(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).expect("a listed file can be read");
    serde_saphyr::from_multiple(&text).unwrap_or_else(|fault| panic!("{}: {fault}", file.display()))
}

fn add(resources: &mut Resources, object: &Value) -> Result<(), serde_json::Error> {
    let kind = object["kind"].as_str().unwrap_or_default();
    match kind {
        "IPAddressPool" => resources.pools.push(read(object)?),
        "BGPPeer" if object["apiVersion"] == "metallb.io/v1beta1" => {
            let old: api::v1beta1::BGPPeer = read(object)?;
            resources.peers.push(BGPPeer::from(old));
        }
        "BGPPeer" => resources.peers.push(read(object)?),
        "BGPAdvertisement" => resources.advertisements.push(read(object)?),
        "L2Advertisement" => resources.l2_advertisements.push(read(object)?),
        "BFDProfile" => resources.bfd_profiles.push(read(object)?),
        "Community" => resources.communities.push(read(object)?),
        "ConfigurationState" => drop(read::<ConfigurationState>(object)?),
        "ServiceBGPStatus" => drop(read::<ServiceBGPStatus>(object)?),
        "ServiceL2Status" => drop(read::<ServiceL2Status>(object)?),
        "SpeakerState" => drop(read::<SpeakerState>(object)?),
        other => panic!("no kind {other}"),
    }
    resources.secrets = BTreeMap::from([("bgp-password".to_owned(), PasswordSecret::MissingKey)]);
    Ok(())
}

fn read<K: DeserializeOwned>(object: &Value) -> Result<K, serde_json::Error> {
    serde_json::from_value(object.clone())
}
