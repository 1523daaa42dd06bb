//! A computer behind the router, in a network of its own: what it sees is what a user sees.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;

use anyhow::Result;

use super::caller::{self, Caller};
use super::{CLIENT_V4, CLIENT_V6};
use crate::namespace::Namespace;
use crate::process::{output, run_to_end};
use crate::run::Run;
use crate::traffic::Ports;

/// The client.
#[derive(Debug)]
pub struct ClientHost {
    namespace: Namespace,
    ports: Arc<Ports>,
}

impl ClientHost {
    /// Makes the client's network behind the router.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn create(run: &Arc<Run>, prefix: &str, router: &Namespace) -> Result<Self> {
        let namespace = Namespace::create(run, format!("{prefix}client")).await?;
        router
            .ip(&format!(
                "link add clients type veth peer name eth0 netns {}\n\
                 address add 192.168.88.1/24 dev clients\n\
                 address add fd00:10:0:88::1/64 dev clients nodad\n\
                 link set clients up\n",
                namespace.name()
            ))
            .await?;
        namespace
            .ip(&format!(
                "address add {CLIENT_V4}/24 dev eth0\n\
                 address add {CLIENT_V6}/64 dev eth0 nodad\n\
                 link set eth0 up\n\
                 route add default via 192.168.88.1\n\
                 route add default via fd00:10:0:88::1\n"
            ))
            .await?;
        Ok(Self { namespace, ports: Arc::default() })
    }

    /// The client's namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Where its traffic comes from.
    #[must_use]
    pub fn ports(&self) -> &Arc<Ports> {
        &self.ports
    }

    /// Fetches a page and gives its body.
    ///
    /// # Errors
    /// When there is no answer within 5 seconds, or the answer is an error.
    pub async fn curl(&self, url: &str) -> Result<String> {
        let mut command = self.namespace.command("curl");
        command.args(["--silent", "--show-error", "--fail", "--max-time", "5", url]);
        output(&mut command).await
    }

    /// Calls an address again and again until told to stop.
    #[must_use]
    pub fn call(&self, address: IpAddr) -> Caller {
        let ((first, calls), (second, stays)) = (channel(), channel());
        let requests = self.namespace.inside_for_long(move || caller::call(address, &calls));
        let stream = self.namespace.inside_for_long(move || caller::stay(address, &stays));
        Caller::new([first, second], tokio::spawn(requests), tokio::spawn(stream))
    }

    /// `curl -v`: everything that a person sees on the terminal.
    ///
    /// # Errors
    /// When curl cannot be started.
    pub async fn curl_verbose(&self, url: &str) -> Result<String> {
        let mut command = self.namespace.command("curl");
        command.args(["--verbose", "--no-progress-meter", "--max-time", "5", url]);
        let done = run_to_end(&mut command).await?;
        let mut text = String::from_utf8_lossy(&done.stderr).into_owned();
        text.push_str(&String::from_utf8_lossy(&done.stdout));
        Ok(text)
    }
}
