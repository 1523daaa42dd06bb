//! Answers questions that need the facts themselves: asks their owner, and puts the sessions beside what it says.

use std::sync::Arc;

use api::herald::{WhyLink, WhyReason, WhyReport};
use api::service::ServiceKey;
use serde_json::{Value, json};

use super::Inlets;
use super::why::why;
use crate::watch::question::Asker;

/// What an answer is made from.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Name of the own Node.
    pub node: String,
    /// The states.
    pub inlets: Inlets,
    /// The owner of the facts.
    pub asker: Asker,
}

impl Answers {
    /// The answer to `GET /why?service=NAMESPACE/NAME`.
    pub async fn why(self, query: String) -> Value {
        let wanted = query.split('&').find_map(|pair| pair.strip_prefix("service="));
        let Some((namespace, name)) = wanted.and_then(|wanted| wanted.split_once('/')) else {
            let text = "ask with ?service=NAMESPACE/NAME";
            return self.refuse(wanted.unwrap_or_default(), WhyReason::Usage, text);
        };
        let service = ServiceKey::new(namespace, name);
        let explanation = match self.asker.explain(service.clone()).await {
            Ok(explanation) => explanation,
            Err(silence) => {
                return self.refuse(&service.to_string(), WhyReason::Silent, &silence.to_string());
            }
        };
        let plan = Arc::clone(&self.inlets.plan.borrow());
        let table = Arc::clone(&self.inlets.sessions.borrow());
        json!(why(&self.node, &service, explanation.as_ref(), &plan, &table))
    }

    fn refuse(&self, service: &str, reason: WhyReason, text: &str) -> Value {
        let links = vec![WhyLink::fails(reason, text)];
        json!(WhyReport { node: self.node.clone(), service: service.to_owned(), links })
    }
}
