//! Container images of the test bed's own, written as one archive for containerd and Docker without any container engine.
//! One platform, one layer: Herald's image is made elsewhere, for people.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::process::Command;

use super::rootfs::Rootfs;
use crate::machine::repository;
use crate::process::output;

/// The first process of each Pod. A name of its own, so that no other image of the machine is meant.
pub const PAUSE: &str = "localhost/herald-testbed/pause:1";
/// The server behind the Services of the samples, under the name that the documents use.
pub const SERVER: &str = "docker.io/library/nginx:1";

/// Builds the image of the pause program from its source.
///
/// # Errors
/// When there is no compiler, or no static C library.
pub async fn pause(folder: &Path) -> Result<PathBuf> {
    let rootfs = Rootfs::create(&folder.join("pause-root"))?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut compile = Command::new(rustc);
    compile
        .args(["--edition=2024", "--crate-name=pause", "-Ctarget-feature=+crt-static", "-Copt-level=s"])
        .args(["-Cpanic=abort", "-Cstrip=symbols", "-o"])
        .arg(rootfs.folder().join("pause"))
        .arg(repository().join("testbed/containers/pause.rs"));
    output(&mut compile).await.context("compiling the pause program")?;
    write(&folder.join("pause.tar"), PAUSE, &rootfs, &json!({"Entrypoint": ["/pause"]})).await
}

/// Builds the image of a web server out of the machine's nginx; the page names the Pod and the address that it saw.
///
/// # Errors
/// When nginx is not installed.
pub async fn server(folder: &Path) -> Result<PathBuf> {
    let rootfs = Rootfs::create(&folder.join("server-root"))?;
    rootfs.add_program("/usr/sbin/nginx").await?;
    rootfs.add_file("etc/passwd", "root:x:0:0::/:/\nnobody:x:65534:65534::/:/\n", 0o644)?;
    rootfs.add_file("etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644)?;
    rootfs.add_file("etc/nginx/nginx.conf", SERVER_CONFIGURATION, 0o644)?;
    for name in ["var/lib/nginx", "var/log/nginx"] {
        rootfs.add_folder(name, 0o755)?;
    }
    let configuration = json!({
        "Entrypoint": ["/usr/sbin/nginx"], "Cmd": ["-e", "stderr", "-g", "daemon off;"], "StopSignal": "SIGQUIT",
    });
    write(&folder.join("server.tar"), SERVER, &rootfs, &configuration).await
}

const SERVER_CONFIGURATION: &str = "user nobody nogroup;\nworker_processes 1;\npid /run/nginx.pid;\n\
     events { worker_connections 128; }\n\
     http {\n  access_log off;\n  default_type text/plain;\n  keepalive_timeout 0;\n  server {\n    listen 80;\n    listen [::]:80;\n\
     location / { return 200 \"hello from $hostname, you are $remote_addr\\n\"; }\n  }\n}\n";

/// Writes an archive that both an OCI reader (index.json) and Docker (manifest.json) understand.
///
/// # Errors
/// When `tar` or `sha256sum` fails.
pub async fn write(archive: &Path, name: &str, rootfs: &Rootfs, process: &Value) -> Result<PathBuf> {
    let layout = archive.with_extension("layout");
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).with_context(|| format!("making {}", blobs.display()))?;
    let layer = layout.join("layer");
    tar(rootfs.folder(), &layer).await?;
    let layer = Blob::keep(&blobs, &layer).await?;
    let configuration = json!({
        "architecture": architecture()?, "os": "linux", "config": process,
        "rootfs": {"type": "layers", "diff_ids": [layer.digest()]},
    });
    let configuration = Blob::write(&blobs, &configuration).await?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": configuration.descriptor("application/vnd.oci.image.config.v1+json"),
        "layers": [layer.descriptor("application/vnd.oci.image.layer.v1.tar")],
    });
    let manifest = Blob::write(&blobs, &manifest).await?;
    let mut described = manifest.descriptor("application/vnd.oci.image.manifest.v1+json");
    described["annotations"] =
        json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [described]});
    let docker = json!([{
        "Config": configuration.path(), "RepoTags": [name], "Layers": [layer.path()],
    }]);
    for (file, content) in [
        ("index.json", index),
        ("manifest.json", docker),
        ("oci-layout", json!({"imageLayoutVersion": "1.0.0"})),
    ] {
        fs::write(layout.join(file), content.to_string()).with_context(|| format!("writing {file}"))?;
    }
    tar(&layout, archive).await?;
    fs::remove_dir_all(&layout).context("removing the layout")?;
    Ok(archive.to_owned())
}

/// A part of an image, called by its digest.
struct Blob {
    sha256: String,
    octets: u64,
}

impl Blob {
    async fn write(blobs: &Path, content: &Value) -> Result<Self> {
        let place = blobs.join("new");
        fs::write(&place, content.to_string()).context("writing a part of an image")?;
        Self::keep(blobs, &place).await
    }

    async fn keep(blobs: &Path, file: &Path) -> Result<Self> {
        let line = output(Command::new("sha256sum").arg(file)).await?;
        let sha256 = line.split_whitespace().next().context("sha256sum says a digest")?.to_owned();
        let octets = fs::metadata(file).context("measuring a part of an image")?.len();
        fs::rename(file, blobs.join(&sha256)).context("keeping a part of an image")?;
        Ok(Self { sha256, octets })
    }

    fn digest(&self) -> String {
        format!("sha256:{}", self.sha256)
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.sha256)
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest(), "size": self.octets})
    }
}

async fn tar(folder: &Path, archive: &Path) -> Result<()> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path != archive {
            names.push(path.file_name().context("an entry has a name")?.to_string_lossy().into_owned());
        }
    }
    names.sort();
    let mut command = Command::new("tar");
    command.arg("--create").arg("--file").arg(archive).arg("--directory").arg(folder);
    command.args(["--sort=name", "--numeric-owner", "--"]).args(names);
    output(&mut command).await.map(drop)
}

/// This machine's architecture, as images name it.
fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("images for {other} are not made here"),
    }
}
