//! Flags and their environment twins, and the checked `Settings` that come out of them.
//!
//! Leaves out the flags' meaning: the ones that both daemons share are in `runtime::settings`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use runtime::settings::{CommonArgs, Component};

/// Herald's controller: gives addresses to Services of type LoadBalancer
#[derive(Debug, Parser)]
#[command(name = "controller", version)]
pub struct Args {
    /// What both daemons have.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// The flags in checked form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Kubeconfig file; `None` = the Pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of the configuration and of the lease.
    pub namespace: String,
    /// Name of this Pod.
    pub pod_name: Option<String>,
    /// The load-balancer class that is ours; `None` = Services without a class.
    pub class: Option<String>,
    /// Where health, metrics and debug state are served.
    pub admin_addr: SocketAddr,
    /// Where metrics alone are served as well.
    pub metrics_addr: Option<SocketAddr>,
}

impl From<CommonArgs> for Settings {
    fn from(args: CommonArgs) -> Self {
        Self {
            admin_addr: args.admin_addr(Component::Controller),
            kubeconfig: args.kubeconfig,
            namespace: args.namespace,
            pod_name: args.pod_name,
            class: args.load_balancer_class,
            metrics_addr: args.metrics_addr,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_settings() {
        let args =
            Args::try_parse_from(["controller", "--namespace=lb", "--load-balancer-class=herald-lb.io/home"]);
        let settings = Settings::from(args.unwrap().common);
        assert_eq!(settings.namespace, "lb");
        assert_eq!(settings.class.as_deref(), Some("herald-lb.io/home"));
        assert_eq!(settings.admin_addr.to_string(), "127.0.0.1:7472");
    }

    #[test]
    fn an_unknown_flag_is_wrong_usage() {
        let fault = Args::try_parse_from(["controller", "--webhook-mode=enabled"]).unwrap_err();
        assert_eq!(fault.exit_code(), 2);
    }
}
