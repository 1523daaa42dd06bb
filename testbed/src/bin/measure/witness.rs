//! The bare watch client: it reads what the API server says of a few objects, stamps each line when it has it, and does nothing
//! else. What it is compared with can only be as fast as the API server tells.

use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::{AsyncBufReadExt as _, StreamExt as _};
use kube::Client;
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// What can be seen. Longer than any measurement, so that no watch ends in the middle of one.
const WATCHES: [(&str, Reading); 3] = [
    (
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices\
         ?watch=1&timeoutSeconds=14400&fieldSelector=metadata.name%3Ds0",
        endpoint,
    ),
    ("/api/v1/nodes?watch=1&timeoutSeconds=14400&fieldSelector=metadata.name%3Dn1", exclusion),
    (
        "/apis/metallb.io/v1beta1/namespaces/metallb-system/bgpadvertisements?watch=1&timeoutSeconds=14400",
        advertisement,
    ),
];
/// Between two attempts while the API server is away.
const AGAIN: Duration = Duration::from_millis(100);
/// Far more than happens between two looks.
const ROOM: usize = 10_000;

type Reading = fn(&Value) -> Sight;

/// A state that an event tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Whether the first Service has a ready endpoint.
    Ready(bool),
    /// Whether the node is excluded by its label.
    Excluded(bool),
    /// Whether there is an advertisement.
    Advertised(bool),
}

/// The client, on tasks of its own.
pub(crate) struct Witness {
    sights: Receiver<(Instant, Sight)>,
}

impl Witness {
    /// Begins to watch.
    pub(crate) fn begin(client: &Client) -> Self {
        let (sender, sights) = channel(ROOM);
        for (path, read) in WATCHES {
            tokio::spawn(follow(client.clone(), path, read, sender.clone()));
        }
        Self { sights }
    }

    /// When this was first told of since it was last forgotten.
    pub(crate) async fn sees(&mut self, wanted: Sight, limit: Duration) -> Result<Instant> {
        let look = async {
            while let Some((at, sight)) = self.sights.recv().await {
                if sight == wanted {
                    return Ok(at);
                }
            }
            bail!("the bare watch ended")
        };
        tokio::time::timeout(limit, look)
            .await
            .with_context(|| format!("the bare watch missed {wanted:?}"))?
    }

    /// What was seen so far belongs to something else.
    pub(crate) fn forget(&mut self) {
        while self.sights.try_recv().is_ok() {}
    }
}

async fn follow(client: Client, path: &'static str, read: Reading, sender: Sender<(Instant, Sight)>) {
    while !sender.is_closed() {
        // An API server that is away is part of a measurement.
        if let Ok(()) = watch(&client, path, read, &sender).await {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Follows one watch until it ends (an error) or nobody listens.
async fn watch(client: &Client, path: &str, read: Reading, sender: &Sender<(Instant, Sight)>) -> Result<()> {
    let request = http::Request::get(path).body(Vec::new()).context("a request")?;
    let stream = client.request_stream(request).await.context("watching")?;
    let mut lines = pin!(stream.lines());
    while let Some(line) = lines.next().await {
        let line = line.context("reading a watch")?;
        let at = Instant::now();
        let event: Value = serde_json::from_str(&line).context("an event")?;
        if sender.try_send((at, read(&event))).is_err() {
            return Ok(());
        }
    }
    bail!("the watch ended")
}

fn endpoint(event: &Value) -> Sight {
    let endpoints = event.pointer("/object/endpoints").and_then(Value::as_array);
    let ready = |one: &Value| one.pointer("/conditions/ready").and_then(Value::as_bool).unwrap_or(true);
    Sight::Ready(endpoints.is_some_and(|all| all.iter().any(ready)))
}

fn exclusion(event: &Value) -> Sight {
    let labels = event.pointer("/object/metadata/labels");
    Sight::Excluded(
        labels.is_some_and(|labels| labels.get(api::names::label::EXCLUDE_FROM_EXTERNAL_LB).is_some()),
    )
}

fn advertisement(event: &Value) -> Sight {
    Sight::Advertised(event.get("type").and_then(Value::as_str) != Some("DELETED"))
}
