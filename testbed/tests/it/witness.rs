//! A witness of every version of every Service: whoever moves an address, or gives it twice, is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Service;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client};
use tokio::task::JoinHandle;

/// Watches until it is dropped.
pub(crate) struct Witness {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    /// What each Service shows, by UID.
    now: BTreeMap<String, (String, Vec<IpAddr>, bool)>,
    /// What each Service showed last, and what it asked for when it began to show that.
    last: BTreeMap<String, (Vec<IpAddr>, String)>,
    faults: Vec<String>,
}

impl Witness {
    pub(crate) fn start(client: Client) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let sees = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut events =
                std::pin::pin!(watcher(Api::<Service>::default_namespaced(client), Config::default()));
            while let Some(event) = events.next().await {
                let mut seen = sees.lock().unwrap_or_else(PoisonError::into_inner);
                match event {
                    Ok(Event::Apply(object) | Event::InitApply(object)) => seen.take(&object),
                    Ok(Event::Delete(object)) => {
                        seen.now.remove(&object.metadata.uid.unwrap_or_default());
                    }
                    Ok(Event::Init | Event::InitDone) | Err(_) => {}
                }
            }
        });
        Self { seen, task }
    }

    /// Fails when an address has moved without a cause or had two owners since the start.
    pub(crate) fn check(&self) -> Result<()> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(seen.faults.is_empty(), "{}", seen.faults.join("\n"));
        Ok(())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    fn take(&mut self, object: &Service) {
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let name = object.metadata.name.clone().unwrap_or_default();
        let now = addresses(object);
        let shared =
            object.metadata.annotations.iter().flatten().any(|(key, _)| key.ends_with("/allow-shared-ip"));
        self.now.insert(uid.clone(), (name.clone(), now.clone(), shared));
        for (other, (whose, theirs, with_key)) in &self.now {
            let both: BTreeSet<&IpAddr> = theirs.iter().filter(|address| now.contains(address)).collect();
            if *other != uid && !both.is_empty() && !(shared && *with_key) {
                self.faults.push(format!("{both:?} belongs to {name} and to {whose}"));
            }
        }
        let wish = wish(object);
        if let Some((before, wished)) = self.last.get(&uid)
            && *wished == wish
            && !now.is_empty()
            && before.iter().any(|address| !now.contains(address))
        {
            self.faults.push(format!("{name} moved from {before:?} to {now:?} and still asks for {wish}"));
        }
        // What counts is the wish that an address was given for: a new wish comes in a version before the new address.
        let changed = self.last.get(&uid).is_none_or(|(before, _)| *before != now);
        if changed && !now.is_empty() {
            self.last.insert(uid, (now, wish));
        }
    }
}

/// Whatever of a Service is a cause to move it.
fn wish(object: &Service) -> String {
    let spec = object.spec.clone().unwrap_or_default();
    let asked = object.metadata.annotations.iter().flatten();
    let asked: Vec<String> = asked
        .filter(|(key, _)| key.starts_with("metallb.io/") && !key.ends_with("/ip-allocated-from-pool"))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!(
        "{:?} {:?} {} {}",
        spec.type_,
        spec.ip_families,
        spec.load_balancer_ip.unwrap_or_default(),
        asked.join(" ")
    )
}

/// The addresses in a Service's status.
pub(crate) fn addresses(object: &Service) -> Vec<IpAddr> {
    let balancer = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    ingress.filter_map(|row| row.ip.as_deref()?.parse().ok()).collect()
}
