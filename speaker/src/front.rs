//! What a speaker shows to the outside while it runs: addresses for health and metrics, the local socket, status objects.
//! Each begins and ends with the process's turn ([`Role`]).

use kube::Client;
use runtime::admin::{SharedAdmin, serve_unix};
use runtime::event::EventRecorder;
use runtime::settings::Component;
use runtime::stop::Stop;
use runtime::unready;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::{ServiceStatus, Settings, StatusObjects};
use crate::peering::connected_networks;
use crate::status::{self, Inlets, farewell, services};
use crate::takeover::Role;

/// What is shown to the outside, and all that it takes.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) inlets: Inlets,
    pub(crate) events: EventRecorder,
    pub(crate) admin: SharedAdmin,
    pub(crate) stop: Stop,
}

impl Front {
    /// It follows whose turn it is. The addresses for health and metrics belong to the newest process, because the kubelet asks
    /// there whether it is ready; the status objects belong to the one that holds the sessions.
    pub(crate) async fn show(self, mut role: watch::Receiver<Role>) {
        let (mut serving, mut telling) = (None, None);
        loop {
            let now = *role.borrow_and_update();
            let serves = match now {
                Role::Waiting | Role::Active => true,
                Role::Asking | Role::Yielding | Role::Retired => false,
            };
            keep(&mut serving, serves, &|tasks| self.serve(tasks));
            keep(&mut telling, now.speaks(), &|tasks| self.tell(tasks));
            if role.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn serve(&self, tasks: &mut JoinSet<()>) {
        let Self { settings, admin, stop, .. } = self;
        if let Some(pod) = settings.common.own_pod() {
            tasks.spawn(unready::tell(admin.clone(), pod, self.events.clone()));
        }
        let addr = settings.common.admin_addr(Component::Speaker);
        tasks.spawn(SharedAdmin::serve(admin.clone(), addr, stop.clone()));
        if let Some(addr) = settings.common.metrics_addr {
            tasks.spawn(SharedAdmin::serve_metrics(admin.clone(), addr, stop.clone()));
        }
        tasks.spawn(serve_unix(admin.clone(), settings.socket.clone(), stop.clone()));
    }

    fn tell(&self, tasks: &mut JoinSet<()>) {
        let (namespace, node) = (&self.settings.common.namespace, &self.settings.node);
        match self.settings.service_bgp_status {
            ServiceStatus::On => {
                let (client, inlets) = (self.client.clone(), self.inlets.clone());
                tasks.spawn(services::run(client, namespace.clone(), node.clone(), inlets));
            }
            ServiceStatus::Off => {}
        }
        match self.settings.status_objects {
            StatusObjects::On => {
                let (client, inlets) = (self.client.clone(), self.inlets.clone());
                tasks.spawn(status::run(
                    client,
                    namespace.clone(),
                    node.clone(),
                    inlets,
                    self.events.clone(),
                ));
            }
            StatusObjects::Off => {}
        }
    }

    /// Takes back what this node said of its Services.
    pub(crate) async fn clear(&self) {
        match self.settings.service_bgp_status {
            ServiceStatus::On => {
                services::clear(self.client.clone(), &self.settings.common.namespace, &self.settings.node)
                    .await;
            }
            ServiceStatus::Off => {}
        }
    }

    /// Takes back what this node said of its sessions. To be called when they have ended.
    pub(crate) async fn say_farewell(&self) {
        match self.settings.status_objects {
            StatusObjects::On => {
                let (namespace, node) = (&self.settings.common.namespace, &self.settings.node);
                let networks = connected_networks().unwrap_or_default();
                farewell::say(self.client.clone(), namespace, node, networks).await;
            }
            StatusObjects::Off => {}
        }
    }
}

/// Starts tasks that are wanted and do not run, and ends those that run and are not wanted.
fn keep(tasks: &mut Option<JoinSet<()>>, wanted: bool, start: &impl Fn(&mut JoinSet<()>)) {
    if !wanted {
        *tasks = None;
    } else if tasks.is_none() {
        start(tasks.insert(JoinSet::new()));
    }
}
