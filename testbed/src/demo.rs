//! The story of `cargo demo`: a home network from nothing to a page in the browser, and what happens when things die.
//! Each step checks what it shows, so the system tests tell the same story.

mod farewell;
mod screen;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::eventually::eventually;
use crate::lab::Lab;
use crate::machine::repository;
use crate::service::Service;

pub use farewell::look_around;
pub use screen::Screen;

/// What the router and the API server get for anything that has no timer of its own.
const SOON: Duration = Duration::from_secs(30);
/// The hold time that Herald proposes, 15 s, and a little for the router to act on it.
const HOLD_TIME: Duration = Duration::from_secs(20);
/// The Service of the sample.
const NAME: &str = "nginx";

/// Tells the story on a lab that has the nodes n1, n2 and n3 and no Herald yet.
///
/// # Errors
/// When something is not as the story says.
pub async fn tell(lab: &mut Lab, screen: &Screen) -> Result<()> {
    let address: IpAddr = "10.0.4.1".parse().context("the first address of the pool")?;
    screen.text(screen::MAP);
    install(lab, screen).await?;
    let service = configure(lab, screen).await?;
    show_sessions(lab, screen).await?;
    show_address(lab, screen, &service, address).await?;
    show_route(lab, screen, address).await?;
    fetch_page(lab, screen).await?;
    lose_and_regain_the_endpoints(lab, screen, address).await?;
    lose_a_node(lab, screen, address).await
}

async fn install(lab: &mut Lab, screen: &Screen) -> Result<()> {
    screen.chapter("Install Herald");
    screen.command("kubectl apply -k manifests/");
    let answer = lab.cluster().apply_manifests().await?;
    screen.output(&answer);
    screen.note("Nobody pulls images here: the demo starts the same programs itself, as user 65532 without capabilities,");
    screen.note("with the tokens of their service accounts: a controller on n1, a speaker on n1, n2 and n3.");
    lab.start_daemons().await
}

async fn configure(lab: &mut Lab, screen: &Screen) -> Result<Service> {
    screen.chapter("Say which addresses there are, who the router is, and what to expose");
    let sample = repository().join("manifests/samples/home-network.yaml");
    let path = sample.to_str().context("a path that is text")?;
    screen.command("kubectl apply -f manifests/samples/home-network.yaml");
    let answer = lab.cluster().kubectl(&["apply", "-f", path]).await?;
    ensure!(answer.accepted, "kubectl apply -f {path}: {}", answer.text);
    screen.output(&answer.text);
    screen.note("Two nginx pods start, on n1 and n2; kube-proxy runs on every node.");
    lab.start_pod(NAME, "n1").await?;
    lab.start_pod(NAME, "n2").await?;
    Ok(Service::existing(lab.cluster().client(), NAME))
}

async fn show_sessions(lab: &mut Lab, screen: &Screen) -> Result<()> {
    screen.chapter("The sessions come up");
    let nodes = lab.nodes().count();
    let waited = eventually(SOON, "all sessions to be established at the router", async || {
        let up = lab.router().established().await?;
        if up.len() == nodes { Ok(()) } else { bail!("established: {up:?}") }
    });
    let ((), took) = waited.await.inspect_err(|_| screen.output(&lab.tails()))?;
    screen.note(&format!("The router has {nodes} established sessions after {}.", screen::duration(took)));
    screen.command("speakerctl peers");
    let (table, _) = eventually(SOON, "speakerctl peers to say so, too", async || {
        let answer = lab.speakerctl(&["peers"]).await?;
        let established = answer.text.lines().filter(|line| line.contains("Established")).count();
        if established == nodes { Ok(answer.text) } else { bail!("{}", answer.text) }
    })
    .await?;
    screen.output(&table);
    Ok(())
}

async fn show_address(lab: &Lab, screen: &Screen, service: &Service, address: IpAddr) -> Result<()> {
    screen.chapter("The Service has an address");
    let (addresses, _) = service.wait_for_addresses(1, SOON).await?;
    screen.command("kubectl get service nginx");
    screen.output(&lab.cluster().kubectl(&["get", "service", NAME]).await?.text);
    ensure!(addresses == [address], "the Service got {addresses:?} and not {address}");
    Ok(())
}

async fn show_route(lab: &Lab, screen: &Screen, address: IpAddr) -> Result<()> {
    screen.chapter("The router knows the way");
    lab.wait_for_paths(address, &["n1", "n2", "n3"], SOON).await?;
    screen.command("vtysh -c 'show ip route bgp'        # on the router");
    screen.output(&routes_as_shown(lab).await?);
    Ok(())
}

async fn fetch_page(lab: &Lab, screen: &Screen) -> Result<()> {
    screen.chapter("A computer behind the router opens the page");
    // kube-proxy learned of the address at the same time as we did.
    eventually(SOON, "the first page", async || lab.client().curl("http://10.0.4.1").await).await?;
    screen.command("curl -v http://10.0.4.1             # on 192.168.88.10, through the router and kube-proxy");
    let answer = lab.client().curl_verbose("http://10.0.4.1").await?;
    screen.output(&answer);
    ensure!(answer.contains("200 OK") && answer.contains("hello from nginx-"), "that is not nginx");
    Ok(())
}

async fn lose_and_regain_the_endpoints(lab: &mut Lab, screen: &Screen, address: IpAddr) -> Result<()> {
    screen.chapter("The last endpoint goes away");
    lab.delete_pods(NAME, "n1").await?;
    lab.wait_for_paths(address, &["n1", "n2", "n3"], SOON).await?;
    screen.note("The pod on n1 is deleted: one is left, so the route stays.");
    let start = Instant::now();
    lab.delete_pods(NAME, "n2").await?;
    lab.wait_for_paths(address, &[], SOON).await?;
    screen.note(&format!("The pod on n2 is deleted: the router has no route {} later.", screen::duration(start.elapsed())));
    screen.command("ip route get 10.0.4.1               # on the router");
    let namespace = lab.router().namespace();
    let lookup = crate::process::run_to_end(namespace.command("ip").args(["route", "get", "10.0.4.1"])).await?;
    screen.output(&format!("{}{}", String::from_utf8_lossy(&lookup.stdout), String::from_utf8_lossy(&lookup.stderr)));

    screen.chapter("A new pod starts on n2");
    lab.start_pod(NAME, "n2").await?;
    let start = Instant::now();
    lab.wait_for_paths(address, &["n1", "n2", "n3"], SOON).await?;
    screen.note(&format!("It is Ready, and the route is back {} later.", screen::duration(start.elapsed())));
    let (page, _) = eventually(SOON, "the page again", async || lab.client().curl("http://10.0.4.1").await).await?;
    screen.command("curl http://10.0.4.1");
    screen.output(&page);
    Ok(())
}

async fn lose_a_node(lab: &mut Lab, screen: &Screen, address: IpAddr) -> Result<()> {
    screen.chapter("The plug of n3 is pulled");
    screen.note("n3 cannot say goodbye. The router notices when it has heard nothing for the hold time of 15 s; waiting for that.");
    let start = Instant::now();
    lab.cut_power("n3").await?;
    lab.wait_for_paths(address, &["n1", "n2"], HOLD_TIME).await?;
    screen.note(&format!("The path by n3 is gone after {}.", screen::duration(start.elapsed())));
    screen.command("vtysh -c 'show ip route bgp'        # on the router");
    screen.output(&routes_as_shown(lab).await?);
    let page = lab.client().curl("http://10.0.4.1").await?;
    screen.command("curl http://10.0.4.1");
    screen.output(&page);
    Ok(())
}

/// The routes without the explanation of their letters.
async fn routes_as_shown(lab: &Lab) -> Result<String> {
    let text = lab.router().vtysh("show ip route bgp").await?;
    let routes = text.lines().skip_while(|line| !line.starts_with("B>"));
    Ok(routes.collect::<Vec<_>>().join("\n"))
}
