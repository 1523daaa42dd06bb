//! An OCI image layout in one tar, for several platforms, from bytes in memory: no container engine, no clock.
//!
//! The archive has both tables of contents: `index.json` with a nested image index, which containerd, skopeo and newer
//! engines read, and `manifest.json`, which names the first platform for the `docker load` of any age.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::digest::Digest;
use super::layer::{Node, USER, pack};
use super::platform::Platform;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The one file of the image, and the names by which it is called.
pub(super) const PROGRAM: &str = "herald";
pub(super) const NAMES: [&str; 3] = ["controller", "speaker", "speakerctl"];

/// What all platforms of an image have in common.
pub(super) struct Image {
    /// Repository and tag, such as `localhost/herald:0.1.0`.
    pub(super) name: String,
    /// Seconds since 1970, for every date in the image.
    pub(super) time: u64,
    /// The same as text, RFC 3339.
    pub(super) created: String,
    /// `org.opencontainers.image.*`.
    pub(super) labels: BTreeMap<String, String>,
}

/// A finished archive.
pub(super) struct Archive {
    /// The tar.
    pub(super) bytes: Vec<u8>,
    /// The digest of the image index: what a registry calls the image.
    pub(super) index: Digest,
    /// Compressed octets that a node of the platform fetches (layer, configuration and manifest).
    pub(super) sizes: Vec<(Platform, usize)>,
}

/// Packs the program of each platform.
pub(super) fn pack_image(image: &Image, programs: &[(Platform, Vec<u8>)]) -> Result<Archive> {
    let mut blobs = Blobs::default();
    let (mut manifests, mut sizes, mut docker) = (Vec::new(), Vec::new(), None);
    for (platform, program) in programs {
        let layer = pack(&tree(program), image.time).with_context(|| format!("the layer of {platform}"))?;
        let config = blobs.json(CONFIG, &configuration(image, *platform, &layer.diff))?;
        let layer = blobs.put(LAYER, layer.bytes);
        docker.get_or_insert_with(
            || json!([{"Config": path(&config), "RepoTags": [image.name], "Layers": [path(&layer)]}]),
        );
        let content = length(&config) + length(&layer);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
            "annotations": image.labels,
        });
        let mut manifest = blobs.json(MANIFEST, &manifest)?;
        sizes.push((*platform, content + length(&manifest)));
        manifest["platform"] = platform.fields();
        manifests.push(manifest);
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": image.labels,
    });
    let mut index = blobs.json(INDEX, &index)?;
    let tag = image.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    index["annotations"] =
        json!({"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": tag});
    let digest = Digest::of(&blobs.read(&index));
    let outer = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [index]});
    let files = [
        ("oci-layout", serde_json::to_vec(&json!({"imageLayoutVersion": "1.0.0"}))?),
        ("index.json", serde_json::to_vec(&outer)?),
        ("manifest.json", serde_json::to_vec(&docker)?),
    ];
    Ok(Archive { bytes: blobs.into_tar(files, image.time)?, index: digest, sizes })
}

/// The mount points are there, so that the programs also run where nothing is mounted over them.
fn tree(program: &[u8]) -> Vec<(&'static str, Node<'_>)> {
    let folders = ["run", "run/herald", "var", "var/lib", "var/lib/herald"];
    let mut entries = vec![(PROGRAM, Node::Program(program))];
    entries.extend(NAMES.map(|name| (name, Node::Link(PROGRAM))));
    entries.extend(folders.map(|path| (path, Node::Folder)));
    entries
}

fn configuration(image: &Image, platform: Platform, diff: &Digest) -> Value {
    let mut configuration = platform.fields();
    configuration["created"] = json!(image.created);
    configuration["config"] = json!({
        "User": format!("{USER}:{USER}"),
        "Env": ["PATH=/"],
        "WorkingDir": "/",
        "Labels": image.labels,
    });
    configuration["rootfs"] = json!({"type": "layers", "diff_ids": [diff.to_string()]});
    configuration["history"] = json!([{"created": image.created, "created_by": "cargo xtask image"}]);
    configuration
}

/// Content by its digest.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Takes bytes in and gives their descriptor.
    fn put(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = Digest::of(&bytes);
        let descriptor = json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()});
        self.0.insert(digest.hex().to_owned(), bytes);
        descriptor
    }

    fn json(&mut self, media_type: &str, value: &Value) -> Result<Value> {
        Ok(self.put(media_type, serde_json::to_vec(value).context("writing JSON")?))
    }

    fn read(&self, descriptor: &Value) -> Vec<u8> {
        let hex = descriptor["digest"].as_str().unwrap_or_default().trim_start_matches("sha256:");
        self.0.get(hex).cloned().expect("a descriptor is of a blob that was put in")
    }

    fn into_tar(self, files: [(&str, Vec<u8>); 3], time: u64) -> Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        let blobs = self.0.into_iter().map(|(hex, bytes)| (format!("blobs/sha256/{hex}"), bytes));
        for (path, bytes) in files.map(|(name, bytes)| (name.to_owned(), bytes)).into_iter().chain(blobs) {
            let mut header = tar::Header::new_ustar();
            header.set_mtime(time);
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, &path, bytes.as_slice())
                .with_context(|| format!("packing {path}"))?;
        }
        tar.into_inner().context("ending the archive")
    }
}

fn path(descriptor: &Value) -> String {
    format!("blobs/{}", descriptor["digest"].as_str().unwrap_or_default().replace(':', "/"))
}

fn length(descriptor: &Value) -> usize {
    descriptor["size"].as_u64().and_then(|size| usize::try_from(size).ok()).unwrap_or_default()
}

/// Labels, from texts.
pub(super) fn labels<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (format!("org.opencontainers.image.{name}"), value)).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn read_json(files: &BTreeMap<String, Vec<u8>>, path: &str) -> Value {
        serde_json::from_slice(&files[path]).expect("JSON")
    }

    fn image() -> Image {
        let labels = labels([("version", "1.2.3".to_owned())]);
        Image {
            name: "localhost/herald:1.2.3".into(),
            time: 7,
            created: "1970-01-01T00:00:07Z".into(),
            labels,
        }
    }

    fn files(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(tar);
        archive
            .entries()
            .expect("a tar")
            .map(|entry| {
                let mut entry = entry.expect("an entry");
                let path = entry.path().expect("a path").to_string_lossy().into_owned();
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).expect("content");
                (path, bytes)
            })
            .collect()
    }

    #[test]
    fn every_descriptor_names_a_blob_with_its_digest_and_size() {
        let programs = [(Platform::Amd64, vec![1; 100_000]), (Platform::ArmV7, vec![2; 50_000])];
        let archive = pack_image(&image(), &programs).expect("packs");
        let files = files(&archive.bytes);
        let mut wanted = vec![read_json(&files, "index.json")["manifests"][0].clone()];
        let mut seen = 0;
        while let Some(descriptor) = wanted.pop() {
            let blob = &files[&path(&descriptor)];
            assert_eq!(descriptor["digest"], Digest::of(blob).to_string());
            assert_eq!(descriptor["size"], blob.len());
            seen += 1;
            if descriptor["mediaType"] == INDEX || descriptor["mediaType"] == MANIFEST {
                let body: Value = serde_json::from_slice(blob).expect("JSON");
                for key in ["manifests", "layers"] {
                    wanted.extend(body[key].as_array().into_iter().flatten().cloned());
                }
                wanted.extend(body.get("config").cloned());
            }
        }
        assert_eq!((seen, files.len()), (7, 7 + 3), "index, then manifest, configuration and layer of each");
        let inner = read_json(&files, "index.json")["manifests"][0].clone();
        assert_eq!(inner["digest"], archive.index.to_string());
    }

    #[test]
    fn the_same_programs_give_the_same_bytes_and_others_give_another_digest() {
        let of = |octet| pack_image(&image(), &[(Platform::Arm64, vec![octet; 5000])]).expect("packs");
        assert_eq!(of(1).bytes, of(1).bytes);
        assert_ne!(of(1).index, of(2).index);
    }

    #[test]
    fn the_layer_holds_the_program_once_and_a_link_for_each_name() {
        let layer = pack(&tree(b"program"), 0).expect("packs");
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(layer.bytes.as_slice()).read_to_end(&mut plain).expect("gzip");
        assert_eq!(Digest::of(&plain), layer.diff);
        let mut archive = tar::Archive::new(plain.as_slice());
        let rows: Vec<String> = archive
            .entries()
            .expect("a tar")
            .map(|entry| {
                let entry = entry.expect("an entry");
                let to = entry.link_name().expect("a link").map(|to| to.display().to_string());
                let path = entry.path().expect("a path").display().to_string();
                format!("{path} {:o} {}", entry.header().mode().expect("a mode"), to.unwrap_or_default())
            })
            .collect();
        assert_eq!(
            rows[..4],
            ["herald 755 ", "controller 777 herald", "speaker 777 herald", "speakerctl 777 herald"]
        );
        assert!(rows.contains(&"var/lib/herald 755 ".to_owned()), "{rows:?}");
    }

    #[test]
    fn docker_finds_the_first_platform() {
        let programs = [(Platform::Arm64, vec![1]), (Platform::Amd64, vec![2])];
        let files = files(&pack_image(&image(), &programs).expect("packs").bytes);
        let table: Value = serde_json::from_slice(&files["manifest.json"]).expect("JSON");
        assert_eq!(table[0]["RepoTags"], json!(["localhost/herald:1.2.3"]));
        let config = read_json(&files, table[0]["Config"].as_str().expect("a path"));
        assert_eq!(config["architecture"], "arm64");
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Labels"]["org.opencontainers.image.version"], "1.2.3");
    }
}
