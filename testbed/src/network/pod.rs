//! A pod: a namespace behind a node with nginx in it, and a Pod object whose status the testbed writes in place of a kubelet.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::Pod as PodObject;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::node::Node;
use crate::eventually::eventually;
use crate::namespace::Namespace;
use crate::process::{Process, output};
use crate::run::Run;

/// The Kubernetes namespace of the lab's services and pods.
pub const PODS: &str = "default";

/// What a pod serves slowly: a download at this path takes minutes.
pub const LONG_PATH: &str = "/long";
/// Size of that, and how much of it is sent in a second.
const LONG: (usize, usize) = (512 * 1024, 2048);

/// A pod that answers HTTP on port 80. Dropping it kills its nginx, but the Pod object stays.
#[derive(Debug)]
pub struct Pod {
    name: String,
    node: String,
    addresses: [std::net::IpAddr; 2],
    nginx: Process,
    _namespace: Namespace,
}

impl Pod {
    /// Makes the namespace and starts nginx; the page names the pod and the address that it saw.
    ///
    /// # Errors
    /// When the kernel refuses or nginx does not answer.
    pub async fn start(
        run: &Arc<Run>,
        prefix: &str,
        logs: &Path,
        node: &Node,
        name: &str,
        index: u8,
    ) -> Result<Self> {
        let namespace = Namespace::create(run, format!("{prefix}{name}")).await?;
        let (v4, v6) = node.plan().pod_address(index);
        let (gateway_v4, gateway_v6) = node.plan().gateway();
        let port = format!("pod{index}");
        node.namespace()
            .ip(&format!(
                "link add {port} type veth peer name eth0 netns {}\n\
                 address add {gateway_v4}/32 dev {port}\naddress add {gateway_v6}/128 dev {port} nodad\n\
                 link set {port} up\n\
                 route add {v4}/32 dev {port} src {gateway_v4}\nroute add {v6}/128 dev {port}\n",
                namespace.name()
            ))
            .await?;
        namespace
            .ip(&format!(
                "address add {v4}/32 dev eth0\naddress add {v6}/128 dev eth0 nodad\n\
                 link set eth0 up\n\
                 route add {gateway_v4}/32 dev eth0\nroute add default via {gateway_v4} onlink dev eth0\n\
                 route add {gateway_v6}/128 dev eth0\nroute add default via {gateway_v6} dev eth0\n"
            ))
            .await?;
        let folder = node.folder().join(name);
        fs::create_dir(&folder).context("making the pod's folder")?;
        fs::write(folder.join("long"), vec![b'.'; LONG.0]).context("writing the long file")?;
        fs::write(folder.join("nginx.conf"), configuration(name, &folder)).context("writing nginx.conf")?;
        let mut command = namespace.command("nginx");
        command.arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg("stderr");
        let nginx = Process::start(run, name, logs, command)?;
        let mut pod = Self {
            name: name.to_owned(),
            node: node.name().to_owned(),
            addresses: [v4.into(), v6.into()],
            nginx,
            _namespace: namespace,
        };
        pod.wait_until_it_answers(node).await?;
        Ok(pod)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node it runs on.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Creates the Pod object, running on its node and Ready.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn register(&self, client: Client, labels: &Value) -> Result<()> {
        let object: PodObject = serde_json::from_value(json!({
            "metadata": {"name": self.name, "labels": labels},
            "spec": {"nodeName": self.node, "containers": [{
                "name": "nginx", "image": "nginx", "ports": [{"containerPort": 80}],
            }]},
        }))?;
        let pods = Api::<PodObject>::namespaced(client.clone(), PODS);
        pods.create(&PostParams::default(), &object).await.context("creating the Pod")?;
        self.set_ready(client, true).await
    }

    /// Writes the Pod's status as a kubelet does after a readiness probe.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn set_ready(&self, client: Client, ready: bool) -> Result<()> {
        let [v4, v6] = self.addresses;
        let status = if ready { "True" } else { "False" };
        let patch = json!({"status": {
            "phase": "Running", "podIP": v4, "podIPs": [{"ip": v4}, {"ip": v6}],
            "conditions": [{"type": "Ready", "status": status}, {"type": "ContainersReady", "status": status}],
        }});
        let pods = Api::<PodObject>::namespaced(client, PODS);
        let patch = Patch::Strategic(&patch);
        pods.patch_status(&self.name, &PatchParams::default(), &patch)
            .await
            .context("patching the Pod's status")?;
        Ok(())
    }

    /// Asks for the Pod's end as `kubectl delete` does: it goes on serving, and says that it terminates.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn terminate(&self, client: Client) -> Result<()> {
        let later = DeleteParams { grace_period_seconds: Some(60), ..DeleteParams::default() };
        let pods = Api::<PodObject>::namespaced(client, PODS);
        pods.delete(&self.name, &later).await.context("deleting the Pod with grace").map(drop)
    }

    /// Whether kube-proxy on the Pod's own node sends new connections to it, by IPv4.
    ///
    /// # Errors
    /// When its rules cannot be read.
    pub async fn is_target(&self, node: &Node) -> Result<bool> {
        let target = format!(" {} . 80", self.addresses[0]);
        let rules = node.rules().await?;
        Ok(rules.lines().any(|rule| rule.contains("dnat") && rule.contains(&target)))
    }

    /// Ends nginx and deletes the Pod object at once.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn delete(self, client: Client) -> Result<()> {
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        Api::<PodObject>::namespaced(client, PODS)
            .delete(&self.name, &now)
            .await
            .context("deleting the Pod")?;
        self.nginx.kill().await
    }

    async fn wait_until_it_answers(&mut self, node: &Node) -> Result<()> {
        let url = format!("http://{}", self.addresses[0]);
        eventually(Duration::from_secs(10), "nginx to answer its node", async || {
            self.nginx.check_running()?;
            let page =
                output(node.namespace().command("curl").args(["--silent", "--max-time", "1", &url])).await?;
            if page.contains(&self.name) { Ok(()) } else { bail!("it answered {page:?}") }
        })
        .await?;
        Ok(())
    }
}

fn configuration(name: &str, folder: &Path) -> String {
    let (folder, rate) = (folder.display(), LONG.1);
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nevents {{ worker_connections 64; }}\n\
         http {{\n  access_log off;\n  default_type text/plain;\n  client_body_temp_path {folder}/body;\n\
         proxy_temp_path {folder}/proxy;\n  fastcgi_temp_path {folder}/fastcgi;\n  uwsgi_temp_path {folder}/uwsgi;\n\
         scgi_temp_path {folder}/scgi;\n  keepalive_timeout 0;\n  server {{\n    listen 80;\n    listen [::]:80;\n\
         location {LONG_PATH} {{ root {folder}; limit_rate {rate}; }}\n    \
         location / {{ return 200 \"hello from {name}, you are $remote_addr\\n\"; }}\n  }}\n}}\n"
    )
}
