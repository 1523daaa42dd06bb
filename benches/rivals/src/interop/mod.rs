//! Herald's driver against real routers, case by case, in two network namespaces joined by a cable.
//!
//! A case passes when the router's own words show it (its table, through its own client) and Herald's, where Herald
//! has something to say. What a router cannot do is told apart from what went wrong.

mod bird;
mod case;
mod collision;
mod exabgp;
mod frr;
mod gobgp;
mod network;
mod router;
mod spokesman;

use std::path::Path;

use anyhow::Result;

use crate::daemon::installer;
use crate::markdown::Table;
use case::{CASES, Outcome};
use network::Network;
use router::Kind;

/// Prints the table.
pub(crate) fn run(spokesman: &Path) -> Result<()> {
    installer::install()?;
    let network = Network::make()?;
    let titles: Vec<String> = Kind::ALL.iter().map(|kind| kind.title()).collect();
    let mut head = vec!["case"];
    head.extend(titles.iter().map(String::as_str));
    let mut table = Table::new(&head);
    let mut remarks = Vec::new();
    for case in &CASES {
        let mut cells = vec![case.name.to_owned()];
        for kind in Kind::ALL {
            eprint!("interop: {}: {} ... ", kind.title(), case.name);
            let outcome = case.run(kind, &network, spokesman);
            eprintln!("{outcome:?}");
            cells.push(match outcome {
                Outcome::Passed => "yes".to_owned(),
                Outcome::NotPossible(why) => {
                    remarks.push(format!("- {}, {}: not possible, {why}.", kind.title(), case.name));
                    "–".to_owned()
                }
                Outcome::Failed(why) => {
                    remarks.push(format!(
                        "- {}, {}: **failed**, {}.",
                        kind.title(),
                        case.name,
                        why.replace('\n', " ")
                    ));
                    "**no**".to_owned()
                }
            });
        }
        table.row(&cells);
    }
    table.print();
    println!("{}\n", remarks.join("\n"));
    println!("What each case asks:\n");
    for case in &CASES {
        println!("- {}: {}.", case.name, case.asks);
    }
    Ok(())
}
