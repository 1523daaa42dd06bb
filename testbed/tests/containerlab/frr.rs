//! The image of the routers: the machine's FRR with its libraries, and busybox.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;
use testbed::kubelet::image;
use testbed::kubelet::rootfs::Rootfs;

use crate::topology::FRR_IMAGE;

/// zebra, bfdd and bgpd in the order that BFD asks for. SIGUSR1 is the power switch off, SIGUSR2 on.
const START: &str = "#!/bin/sh
d=/usr/lib/frr
begin() {
\tfor p in zebra bfdd bgpd; do
\t\tc=/etc/frr/$p.conf; [ -f $c ] || : >$c
\t\t$d/$p -d -A 127.0.0.1 -P 0 -f $c
\tdone
}
trap 'killall -9 bgpd bfdd zebra; rm -f /var/run/frr/*' USR1
trap 'begin' USR2
trap 'exit 0' TERM INT
begin
while :; do sleep 3600 & wait $!; done
";

/// Makes the archive.
pub(crate) async fn image(folder: &Path) -> Result<PathBuf> {
    let rootfs = Rootfs::create(&folder.join("frr-root"))?;
    for program in ["zebra", "bgpd", "bfdd"] {
        rootfs.add_program(&format!("/usr/lib/frr/{program}")).await?;
    }
    for program in ["/usr/bin/vtysh", "/bin/ip", "/usr/bin/busybox"] {
        rootfs.add_program(program).await?;
    }
    rootfs.add_tree("/usr/share/yang").await?;
    rootfs.add_tree(&modules()?).await?;
    for applet in ["sh", "killall", "sleep", "rm", "cat", "ps"] {
        rootfs.add_program_as("/usr/bin/busybox", &format!("bin/{applet}"))?;
    }
    // The host's own numbers, because the folder of the sockets is shared with it.
    for (file, names) in
        [("etc/passwd", &["frr:", "root:"][..]), ("etc/group", &["frr:", "frrvty:", "root:"])]
    {
        let text =
            std::fs::read_to_string(Path::new("/").join(file)).with_context(|| format!("reading /{file}"))?;
        let rows: Vec<&str> =
            text.lines().filter(|line| names.iter().any(|name| line.starts_with(name))).collect();
        rootfs.add_file(file, rows.join("\n") + "\n", 0o644)?;
    }
    rootfs.add_folder("etc/frr", 0o777)?;
    rootfs.add_folder("var/run/frr", 0o777)?;
    rootfs.add_folder("var/tmp/frr", 0o777)?;
    rootfs.add_file("start", START, 0o755)?;
    let process = json!({"Entrypoint": ["/start"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]});
    image::write(&folder.join("frr.tar"), FRR_IMAGE, &rootfs, &process).await
}

/// FRR's loadable parts, in the folder of this architecture.
fn modules() -> Result<String> {
    let folders = std::fs::read_dir("/usr/lib").context("reading /usr/lib")?.flatten();
    let mut found = folders.map(|entry| entry.path().join("frr/modules")).filter(|path| path.is_dir());
    let place = found.next().context("there is no folder with FRR's modules in /usr/lib")?;
    Ok(place.to_string_lossy().into_owned())
}
