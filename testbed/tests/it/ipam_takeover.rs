//! The standby takes over: within 15 s of a kill -9, at once after SIGTERM. A witness looks at every version of every
//! Service meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use testbed::HERALD_NAMESPACE;
use testbed::eventually::eventually;
use testbed::herald::Daemon;
use testbed::lab::{Lab, LabPlan};
use testbed::service::ServicePlan;

use crate::home::SOON;
use crate::runner::Test;
use crate::witness::Witness;

pub(crate) const TESTS: &[Test] = &[Test {
    name: "ipam_the_standby_gives_addresses_within_15_s_of_a_crash_and_at_once_after_sigterm",
    plan: || LabPlan { nodes: vec![1, 2], data_path: false, ..LabPlan::default() },
    story: |lab| Box::pin(takeover(lab)),
}];

/// From the kill of the leader to the address of a Service that was made right after it.
const AFTER_A_CRASH: Duration = Duration::from_secs(15);
/// The same from the end of a leader that was asked to stop.
const AFTER_SIGTERM: Duration = Duration::from_secs(3);
/// A failure shall say how long it did take.
const PATIENCE: Duration = Duration::from_secs(45);

async fn takeover(lab: &mut Lab) -> Result<()> {
    lab.cluster().apply_manifests().await?;
    let pool = format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: home, namespace: {HERALD_NAMESPACE}}}\n\
         spec: {{addresses: [10.0.4.0/24]}}\n"
    );
    lab.cluster().apply(&pool).await?;
    let client = lab.cluster().client();
    let witness = Witness::start(client.clone());
    for node in ["n1", "n2"] {
        lab.start_daemon(node, Daemon::Controller).await?;
    }
    for name in ["before-a", "before-b", "before-c"] {
        let service = lab.create_service(name, &ServicePlan::default()).await?;
        service.wait_for_addresses(1, SOON).await?;
    }

    // The worst moment: the leader has just said that it is alive.
    let (first, renewed) = holder(&client).await?;
    let ((), _) = eventually(PATIENCE, "a renewal of the lease", async || {
        let now = holder(&client).await?;
        ensure!(now.0 == first && now.1 != renewed, "{now:?}");
        Ok(())
    })
    .await?;
    let killed = Instant::now();
    lab.kill_daemon(node_of(&first), Daemon::Controller).await?;
    let service = lab.create_service("after-a-crash", &ServicePlan::default()).await?;
    service.wait_for_addresses(1, PATIENCE).await?;
    let took = killed.elapsed();
    println!("  {took:.1?} from kill -9 of the leader to the address of a new Service");
    ensure!(took <= AFTER_A_CRASH, "a crash costs at most {AFTER_A_CRASH:?}, and it took {took:.1?}");
    witness.check()?;

    let (second, _) = holder(&client).await?;
    ensure!(second != first, "the standby leads");
    lab.start_daemon(node_of(&first), Daemon::Controller).await?;
    let status = lab.stop_daemon(node_of(&second), Daemon::Controller).await?;
    ensure!(status.success(), "asked to stop, the leader ended with {status}");
    let stopped = Instant::now();
    let service = lab.create_service("after-sigterm", &ServicePlan::default()).await?;
    service.wait_for_addresses(1, PATIENCE).await?;
    let took = stopped.elapsed();
    println!("  {took:.1?} from the end of the leader after SIGTERM to the address of a new Service");
    ensure!(took <= AFTER_SIGTERM, "a lease that is given back is taken at once, and it took {took:.1?}");
    witness.check()
}

/// Who holds the lease, and when it was renewed.
async fn holder(client: &Client) -> Result<(String, String)> {
    let lease = Api::<Lease>::namespaced(client.clone(), HERALD_NAMESPACE).get("herald-controller").await?;
    let spec = lease.spec.context("a lease has a spec")?;
    let holder =
        spec.holder_identity.filter(|holder| !holder.is_empty()).context("nobody holds the lease")?;
    Ok((holder, format!("{:?}", spec.renew_time)))
}

/// The node whose controller goes by this identity.
fn node_of(holder: &str) -> &str {
    holder.split('-').next().unwrap_or_default()
}
