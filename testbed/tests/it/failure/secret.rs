//! A password is changed while clients are served. Both ends of a session must have the same one (RFC 2385). With the Secret
//! first, Herald signs the session anew and it lives on unheard; here nobody is quick, so the hold timer ends it. FRR ends it by
//! itself when its own password is edited, so with the router first the price is the time until the Secret follows.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use testbed::chronicle::{Chapter, Cost, tell};
use testbed::eventually::eventually;
use testbed::lab::Lab;

use super::{afterwards, begin_traffic, quiet};
use crate::home::{FIRST, SOON, install};
use crate::session::{patch_peer, set_password};

/// What the lab's router has at the beginning.
pub(super) const FIRST_PASSWORD: &str = "open-sesame";
/// The operator's hand is so quick.
const BETWEEN: Duration = Duration::from_secs(1);

pub(super) async fn story(lab: &mut Lab) -> Result<()> {
    set_password_first(lab).await?;
    let traffic = begin_traffic(lab, 0).await?;
    for (order, password) in [(Order::SecretFirst, "second-word"), (Order::RouterFirst, "third-word")] {
        quiet(&traffic, 0).await?;
        let start = Instant::now();
        match order {
            Order::SecretFirst => {
                set_password(lab, password).await?;
                none(lab).await?;
                tokio::time::sleep(BETWEEN).await;
                at_the_router(lab, password).await?;
            }
            Order::RouterFirst => {
                at_the_router(lab, password).await?;
                none(lab).await?;
                tokio::time::sleep(BETWEEN).await;
                set_password(lab, password).await?;
            }
        }
        let between = start.elapsed();
        lab.wait_for_paths(FIRST, &["n1", "n2"], SOON).await?;
        let took = start.elapsed().saturating_sub(between);
        afterwards().await;
        let loss = traffic.lap();
        let event = format!("the MD5 password is changed, {}", order.words());
        let outcome = format!(
            "{}; the paths are back after the second change, which came {:.1} s later",
            order.end(),
            between.as_secs_f64()
        );
        tell(Chapter::Routers, &event, &outcome, took, Cost::Measured(loss));
    }
    let sessions = lab.router().established().await?;
    ensure!(sessions.len() == 3, "{sessions:?}");
    lab.check_daemons()
}

/// Whose turn is first.
#[derive(Clone, Copy)]
enum Order {
    SecretFirst,
    RouterFirst,
}

impl Order {
    const fn words(self) -> &'static str {
        match self {
            Self::SecretFirst => "in the Secret first and then at the router",
            Self::RouterFirst => "at the router first and then in the Secret",
        }
    }

    /// What becomes of the sessions after the first change, if the second one is late.
    const fn end(self) -> &'static str {
        match self {
            Self::SecretFirst => "the sessions live on unheard until the hold timer ends them",
            Self::RouterFirst => "FRR ends the sessions at once",
        }
    }
}

/// The peer of the sample gets its password before anybody waits for a session.
async fn set_password_first(lab: &mut Lab) -> Result<()> {
    install(lab).await?;
    set_password(lab, FIRST_PASSWORD).await?;
    patch_peer(lab, r#"{"spec":{"passwordSecret":{"name":"router"}}}"#).await
}

async fn at_the_router(lab: &Lab, password: &str) -> Result<()> {
    let words = format!("configure terminal\nrouter bgp 65530\nneighbor NODES password {password}");
    lab.router().vtysh(&words).await.map(drop)
}

/// Waits until the router has no session: by its hold timer, or because its own password was edited.
async fn none(lab: &Lab) -> Result<()> {
    eventually(SOON, "the sessions of the old password to end", async || {
        let up = lab.router().established().await?;
        if up.is_empty() { Ok(()) } else { bail!("established: {up:?}") }
    })
    .await
    .map(drop)
}
