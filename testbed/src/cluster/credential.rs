//! Who may speak to the API server: the administrator's token, kubeconfig files, and the tokens of service accounts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::process::Command;

use super::{Cluster, client};
use crate::process::output;

/// Long enough for a lab that is left running over a weekend.
const TOKEN_SECONDS: i64 = 7 * 24 * 3600;

/// A kubeconfig file.
#[derive(Clone, Debug)]
pub struct Kubeconfig(PathBuf);

impl Kubeconfig {
    /// One that somebody else has written, or several joined as in `KUBECONFIG`.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the file is, as text.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.display().to_string()
    }
}

/// Keys and tokens of one cluster.
#[derive(Debug)]
pub(crate) struct Credentials {
    folder: PathBuf,
    admin_token: String,
}

impl Credentials {
    /// Makes the signing key of service account tokens and the administrator's token.
    pub(super) async fn create(folder: &Path, api_port: u16) -> Result<Self> {
        Self::create_for(folder, &format!("https://127.0.0.1:{api_port}")).await
    }

    /// The same for an API server under any address.
    pub(crate) async fn create_for(folder: &Path, server: &str) -> Result<Self> {
        let (private, public) = (folder.join("sa.key"), folder.join("sa.pub"));
        output(
            Command::new("openssl")
                .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"])
                .arg(&private),
        )
        .await?;
        output(Command::new("openssl").args(["ec", "-pubout", "-in"]).arg(&private).arg("-out").arg(&public))
            .await?;
        let admin_token = random_token()?;
        let line = format!("{admin_token},admin,admin,system:masters\n");
        write_secret(&folder.join("tokens.csv"), &line)?;
        let credentials = Self { folder: folder.to_owned(), admin_token };
        credentials.write("admin", server, &credentials.admin_token)?;
        Ok(credentials)
    }

    pub(crate) fn admin(&self) -> Kubeconfig {
        Kubeconfig(self.folder.join("admin.kubeconfig"))
    }

    pub(super) fn client(&self, port: u16) -> Result<Client> {
        client::connect(port, &self.authority(), &self.admin_token)
    }

    /// The API server signs its own certificate at its first start and leaves it, with the signer, in this file.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("certs/apiserver.crt")
    }

    fn write(&self, name: &str, server: &str, token: &str) -> Result<Kubeconfig> {
        let path = self.folder.join(format!("{name}.kubeconfig"));
        let content = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
            "users": [{"name": "lab", "user": {"token": token}}],
            "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority": self.authority()}}],
        });
        write_secret(&path, &format!("{content:#}\n"))?;
        Ok(Kubeconfig(path))
    }
}

impl Cluster {
    /// A kubeconfig of the administrator for programs that reach the API server under another address.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn admin_at(&self, name: &str, server: &str) -> Result<Kubeconfig> {
        self.credentials.write(name, server, &self.credentials.admin_token)
    }

    /// A client with all rights that goes through `port` on loopback, where a door leads to the API server.
    ///
    /// # Errors
    /// When the API server's certificate cannot be read.
    pub fn client_through(&self, port: u16) -> Result<Client> {
        self.credentials.client(port)
    }

    /// A kubeconfig with the rights of a service account and nothing more, as a pod on `node` has them.
    ///
    /// # Errors
    /// When the account or node does not exist.
    pub async fn service_account_at(
        &self,
        name: &str,
        server: &str,
        account: (&str, &str),
        node: &str,
    ) -> Result<Kubeconfig> {
        let (namespace, account) = account;
        let node = Api::<Node>::all(self.client()).get(node).await.context("reading the node")?;
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: Vec::new(),
                expiration_seconds: Some(TOKEN_SECONDS),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Node".into()),
                    name: node.metadata.name,
                    uid: node.metadata.uid,
                }),
            },
            ..TokenRequest::default()
        };
        let accounts = Api::<ServiceAccount>::namespaced(self.client(), namespace);
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
        let answer = answer.with_context(|| format!("asking for a token of {namespace}/{account}"))?;
        let token = answer.status.context("a token request without an answer")?.token;
        self.credentials.write(name, server, &token)
    }
}

fn random_token() -> Result<String> {
    use std::io::Read as _;
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("reading /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn write_secret(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("writing {}", path.display()))
}
