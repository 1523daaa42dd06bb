//! The CEL rules: what one object can tell about itself, each with a sentence that says what to write instead.
//!
//! They refuse only what MetalLB's schema, webhook or parser refuses too, or what can never work. Whatever needs a
//! second object, or the order of two addresses, is checked by the daemons and told in conditions.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::at;

struct Rule {
    kind: &'static str,
    path: &'static str,
    rule: String,
    message: &'static str,
}

/// Attaches the rules of this kind.
///
/// # Errors
/// A rule for a field that does not exist.
pub(crate) fn apply(kind: &str, schema: &mut Value) -> Result<()> {
    operators(schema);
    for rule in rules().into_iter().filter(|rule| rule.kind == kind) {
        let node =
            at(schema, rule.path)?.as_object_mut().with_context(|| format!("{} has a schema", rule.path))?;
        let list = node.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
        let list = list.as_array_mut().context("rules are a list")?;
        list.push(json!({ "rule": rule.rule, "message": rule.message }));
    }
    Ok(())
}

/// Every operator of a label selector is one of four.
fn operators(schema: &mut Value) {
    match schema {
        Value::Object(node) => {
            if node.contains_key("operator") && node.contains_key("key") {
                node["operator"]["enum"] = json!(["In", "NotIn", "Exists", "DoesNotExist"]);
                if let Some(operator) = node["operator"].as_object_mut() {
                    operator.remove("maxLength");
                }
            }
            node.values_mut().for_each(operators);
        }
        Value::Array(list) => list.iter_mut().for_each(operators),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn rules() -> Vec<Rule> {
    [pool(), router(), session(), advertisement(), communities(), written_once()]
        .into_iter()
        .flatten()
        .collect()
}

fn rule(kind: &'static str, path: &'static str, rule: impl Into<String>, message: &'static str) -> Rule {
    Rule { kind, path, rule: rule.into(), message }
}

fn pool() -> Vec<Rule> {
    let entry = |text: &str, message| rule("IPAddressPool", "spec.addresses[]", text, message);
    vec![
        rule(
            "IPAddressPool",
            "spec.excluded[]",
            "self.contains('-') || isCIDR(self) || isIP(self)",
            "must be an address such as 10.0.4.7, a network such as 10.0.4.0/28 or a range such as 10.0.4.1-10.0.4.99",
        ),
        rule(
            "IPAddressPool",
            "spec.reserved[].address",
            "isIP(self)",
            "must be one address, such as 10.0.4.7",
        ),
        rule(
            "IPAddressPool",
            "spec.addresses",
            "size(self) > 0",
            "pool has no prefixes defined; list at least one network or range",
        ),
        entry(
            "self.contains('-') || isCIDR(self)",
            "must be a network such as 10.0.4.0/24 or a range such as 10.0.4.1-10.0.4.99; one address is 10.0.4.7/32",
        ),
        entry(
            "!self.contains('-') || (isIP(self.substring(0, self.indexOf('-')).trim()) && \
             isIP(self.substring(self.indexOf('-') + 1).trim()))",
            "a range must be two addresses with one hyphen between them, such as 10.0.4.1-10.0.4.99",
        ),
        entry(
            "!self.contains('-') || !self.contains(':') || self.matches('^[^-]*:[^-]*-[^-]*:')",
            "both ends of a range must be IPv4 or both IPv6; write one range for each family",
        ),
    ]
}

fn router() -> Vec<Rule> {
    let spec = |text: &str, message| rule("BGPPeer", "spec", text, message);
    let filled = |field: &str| format!("(has(self.{field}) && self.{field} != '')");
    let (address, interface, range) = (filled("peerAddress"), filled("interface"), filled("peerRange"));
    vec![
        spec(
            "self.myASN != 0",
            "missing local ASN; set myASN to the AS number of the nodes, for example 64500",
        ),
        spec(
            "(has(self.peerASN) && self.peerASN != 0) || has(self.dynamicASN)",
            "missing peer ASN and dynamicASN; set peerASN to the router's AS number",
        ),
        spec(
            "!(has(self.peerASN) && self.peerASN != 0 && has(self.dynamicASN))",
            "both peer ASN and dynamicASN specified; remove one of them",
        ),
        rule(
            "BGPPeer",
            "spec",
            format!("{address} || {interface} || {range} || has(self.defaultGateway)"),
            "peer has no Address or Interface specified; set peerAddress to the router's address",
        ),
        rule(
            "BGPPeer",
            "spec",
            format!("!({address} && {interface})"),
            "peer has both Address and Interface specified; remove one of them",
        ),
        rule(
            "BGPPeer",
            "spec",
            format!("!(has(self.defaultGateway) && ({address} || {interface} || {range}))"),
            "defaultGateway stands in place of peerAddress, interface and peerRange; keep one of them",
        ),
        rule(
            "BGPPeer",
            "spec",
            format!("!({range} && ({address} || {interface}))"),
            "peerRange stands in place of peerAddress and interface; keep one of them",
        ),
        rule(
            "BGPPeer",
            "spec",
            format!("!({range} && has(self.connectMode) && self.connectMode != 'Passive')"),
            "routers of a peerRange dial; remove connectMode",
        ),
        rule(
            "BGPPeer",
            "spec.peerRange",
            "self == '' || isCIDR(self)",
            "must be a network such as 10.0.2.0/24",
        ),
        rule(
            "BGPPeer",
            "spec.peerAddress",
            address_or_empty(),
            "must be an IPv4 or IPv6 address, without port or prefix length",
        ),
        rule(
            "BGPPeer",
            "spec.sourceAddress",
            address_or_empty(),
            "must be an IPv4 or IPv6 address of the node",
        ),
        spec(
            "!has(self.sourceAddress) || !has(self.peerAddress) || !isIP(self.sourceAddress) || \
             !isIP(self.peerAddress) || ip(self.sourceAddress).family() == ip(self.peerAddress).family()",
            "sourceAddress and peerAddress must both be IPv4 or both IPv6",
        ),
        rule(
            "BGPPeer",
            "spec.routerID",
            "self == '' || (isIP(self) && ip(self).family() == 4 && self != '0.0.0.0')",
            "must be an IPv4 address other than 0.0.0.0; a router ID has 32 bits also on IPv6 sessions",
        ),
        spec(
            "!(has(self.ebgpMultiHop) && self.ebgpMultiHop && has(self.peerASN) && self.peerASN == self.myASN)",
            "ebgpMultiHop is for routers in another AS; remove it or correct peerASN",
        ),
    ]
}

fn session() -> Vec<Rule> {
    let timers = [
        ("spec.holdTime", "must be a duration such as 90s or 1m30s"),
        ("spec.keepaliveTime", "must be a duration such as 30s"),
        ("spec.connectTime", "must be a duration such as 15s"),
    ];
    let mut rules: Vec<Rule> = timers
        .into_iter()
        .map(|(path, message)| rule("BGPPeer", path, duration_syntax("self"), message))
        .collect();
    let guarded = |text: &str| format!("!{} || {text}", duration_syntax("self"));
    rules.extend([
        rule(
            "BGPPeer",
            "spec.holdTime",
            guarded(
                "duration(self) < duration('1s') || \
                 (duration(self) >= duration('3s') && duration(self) < duration('65536s'))",
            ),
            "must be 0s (a silent router is never given up) or from 3s to 65535s",
        ),
        rule(
            "BGPPeer",
            "spec.connectTime",
            guarded(
                "(duration(self) >= duration('1s') && duration(self) <= duration('65535s') && \
                 duration(self).getMilliseconds() % 1000 == 0)",
            ),
            "must be whole seconds from 1s to 65535s",
        ),
        rule(
            "BGPPeer",
            "spec",
            format!(
                "!has(self.holdTime) || !has(self.keepaliveTime) || !{} || !{} || \
                 duration(self.keepaliveTime) <= duration(self.holdTime)",
                duration_syntax("self.holdTime"),
                duration_syntax("self.keepaliveTime"),
            ),
            "keepaliveTime must not be longer than holdTime; leave it out for a third of it",
        ),
        rule(
            "BGPPeer",
            "spec",
            "!(has(self.password) && self.password != '' && has(self.passwordSecret) && \
             has(self.passwordSecret.name) && self.passwordSecret.name != '')",
            "both password and passwordSecret specified; keep passwordSecret",
        ),
        rule(
            "BGPPeer",
            "spec",
            "!(has(self.tcpAOSecret) && has(self.tcpAOSecret.name) && self.tcpAOSecret.name != '' && \
             ((has(self.password) && self.password != '') || (has(self.passwordSecret) && \
             has(self.passwordSecret.name) && self.passwordSecret.name != '')))",
            "a session is signed with a password or with TCP-AO, not both; keep password, passwordSecret or tcpAOSecret alone",
        ),
        rule(
            "BGPPeer",
            "spec.enableGracefulRestart",
            "self == oldSelf",
            "enableGracefulRestart cannot be changed; delete the peer and make it anew",
        ),
    ]);
    rules
}

fn advertisement() -> Vec<Rule> {
    vec![
        rule(
            "BGPAdvertisement",
            "spec",
            "!has(self.serviceSelectors) || size(self.serviceSelectors) == 0 || \
             ((!has(self.aggregationLength) || self.aggregationLength == 32) && \
             (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128))",
            "serviceSelectors cannot be combined with aggregationLength below 32 or aggregationLengthV6 below 128, \
             because a network carries other Services too; remove one of them",
        ),
        rule(
            "BGPAdvertisement",
            "spec.communities[]",
            format!("!self.contains(':') || {}", community("self")),
            "must be a community such as 64500:100 (two numbers up to 65535) or large:64500:1:2 (three up to \
             4294967295), or a name that a Community object defines",
        ),
    ]
}

fn communities() -> Vec<Rule> {
    vec![rule(
        "Community",
        "spec.communities[]",
        format!("has(self.value) && ({})", community("self.value")),
        "value must be a community such as 64500:100 (two numbers up to 65535) or large:64500:1:2 (three up to \
         4294967295)",
    )]
}

fn written_once() -> Vec<Rule> {
    let fields = ["status.node", "status.serviceName", "status.serviceNamespace"];
    let rule_of =
        |path| rule("ServiceBGPStatus", path, "self == oldSelf", "cannot be changed; make a new object");
    fields.into_iter().map(rule_of).collect()
}

/// An address, also IPv4 written inside IPv6, which CEL's own test refuses.
fn address_or_empty() -> String {
    "self == '' || isIP(self) || (self.lowerAscii().startsWith('::ffff:') && isIP(self.substring(7)))"
        .to_owned()
}

fn duration_syntax(field: &str) -> String {
    format!("{field}.matches('^[+]?(0|(([0-9]{{1,9}}([.][0-9]*)?|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$')")
}

fn community(field: &str) -> String {
    format!(
        "({field}.matches('^[0-9]{{1,5}}:[0-9]{{1,5}}$') && \
         {field}.split(':').all(number, int(number) <= 65535)) || \
         ({field}.matches('^large:[0-9]{{1,10}}:[0-9]{{1,10}}:[0-9]{{1,10}}$') && \
         {field}.substring(6).split(':').all(number, int(number) <= 4294967295))"
    )
}
