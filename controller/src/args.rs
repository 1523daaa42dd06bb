//! Flags and their environment twins, and the checked `Settings` that come out of them.
//!
//! Leaves out the flags' meaning: the ones that both daemons share are in `runtime::settings`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use api::duration::{DurationFault, parse};
use api::v1beta1::EditPolicy;
use clap::Parser;
use runtime::event::Regarding;
use runtime::settings::{CommonArgs, Component, choice};

use crate::alloc::Terms;

/// How long a released address rests when nothing is given.
const QUARANTINE: &str = "60s";

/// Herald's controller: gives addresses to Services of type LoadBalancer
#[derive(Debug, Parser)]
#[command(name = "controller", version)]
pub struct Args {
    /// What both daemons have.
    #[command(flatten)]
    pub common: CommonArgs,
    /// How long a released address rests before another Service gets it, such as 60s; 0s turns it off. A pool's own
    /// releaseQuarantine wins
    #[arg(long, env = "HERALD_RELEASE_QUARANTINE", default_value = QUARANTINE, value_parser = duration)]
    pub release_quarantine: Duration,
    /// What a pool edit does to addresses in use that no pool hands out any more. A pool's own editPolicy wins
    #[arg(long, env = "HERALD_EDIT_POLICY", default_value = "Keep", value_parser = choice::<EditPolicyArg>(), ignore_case = true)]
    pub edit_policy: EditPolicyArg,
    /// The Deployment of the controllers: it owns the ConfigurationState, which goes with it
    #[arg(long, env = "HERALD_DEPLOYMENT", value_name = "NAME")]
    pub deployment: Option<String>,
}

/// [`EditPolicy`] as a flag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EditPolicyArg {
    /// Services keep them
    #[default]
    Keep,
    /// Services get new ones, as with MetalLB
    Renumber,
}

impl From<EditPolicyArg> for EditPolicy {
    fn from(arg: EditPolicyArg) -> Self {
        match arg {
            EditPolicyArg::Keep => Self::Keep,
            EditPolicyArg::Renumber => Self::Renumber,
        }
    }
}

fn duration(text: &str) -> Result<Duration, DurationFault> {
    match text.trim() {
        "" => parse(QUARANTINE),
        text => parse(text),
    }
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
    /// This Pod, where it is known.
    pub pod: Option<Regarding>,
    /// The load-balancer class that is ours; `None` = Services without a class.
    pub class: Option<String>,
    /// Where health, metrics and debug state are served.
    pub admin_addr: SocketAddr,
    /// Where metrics alone are served as well.
    pub metrics_addr: Option<SocketAddr>,
    /// What holds for pools that say nothing else.
    pub terms: Terms,
    /// The Deployment of the controllers, where there is one.
    pub deployment: Option<String>,
}

impl From<Args> for Settings {
    fn from(args: Args) -> Self {
        let Args { common: args, release_quarantine, edit_policy, deployment } = args;
        Self {
            pod: args.own_pod(),
            terms: Terms { quarantine: release_quarantine, edit_policy: edit_policy.into() },
            admin_addr: args.admin_addr(Component::Controller),
            kubeconfig: args.kubeconfig,
            namespace: args.namespace,
            pod_name: args.pod_name,
            class: args.load_balancer_class,
            metrics_addr: args.metrics_addr,
            // An empty environment variable is one that was not set.
            deployment: deployment.filter(|name| !name.is_empty()),
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
        let settings = Settings::from(args.unwrap());
        assert_eq!(settings.terms, Terms::default());
        assert_eq!(settings.namespace, "lb");
        assert_eq!(settings.class.as_deref(), Some("herald-lb.io/home"));
        assert_eq!(settings.admin_addr.to_string(), "127.0.0.1:7472");
    }

    #[test]
    fn the_terms_of_pools_can_be_set() {
        let args = Args::try_parse_from(["controller", "--release-quarantine=5m", "--edit-policy=Renumber"]);
        let terms = Settings::from(args.unwrap()).terms;
        let wanted = Terms { quarantine: Duration::from_secs(300), edit_policy: EditPolicy::Renumber };
        assert_eq!(terms, wanted);
        for wrong in ["--release-quarantine=soon", "--edit-policy=Move"] {
            assert_eq!(Args::try_parse_from(["controller", wrong]).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn empty_values_count_as_not_given() {
        let args = Args::try_parse_from(["controller", "--release-quarantine=", "--edit-policy="]);
        assert_eq!(Settings::from(args.unwrap()).terms, Terms::default());
    }

    #[test]
    fn an_unknown_flag_is_wrong_usage() {
        let fault = Args::try_parse_from(["controller", "--webhook-mode=enabled"]).unwrap_err();
        assert_eq!(fault.exit_code(), 2);
    }
}
