//! Services as the API server sends them.

use super::*;

fn view(json: &str) -> ServiceView {
    serde_json::from_str::<SlimService>(json).expect("a Service").view()
}

#[test]
fn a_full_service_keeps_what_we_act_on() {
    let view = view(
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"shop","uid":"u1",
            "resourceVersion":"42","creationTimestamp":"2026-01-02T03:04:05Z","labels":{"app":"web"},
            "annotations":{"metallb.io/address-pool":"home","metallb.universe.tf/allow-shared-ip":"k",
              "kubectl.kubernetes.io/last-applied-configuration":"{}"},
            "managedFields":[
              {"manager":"kubectl","operation":"Update","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{}}},
              {"manager":"herald-controller","operation":"Apply","subresource":"status","time":"2026-01-02T03:05:00Z",
               "fieldsV1":{"f:status":{"f:loadBalancer":{"f:ingress":{}}}}}]},
          "spec":{"type":"LoadBalancer","clusterIP":"10.96.0.9","clusterIPs":["10.96.0.9","fd00::9"],
            "ipFamilies":["IPv4","IPv6"],"ipFamilyPolicy":"PreferDualStack","externalTrafficPolicy":"Local",
            "selector":{"b":"2","a":"1"},"ports":[{"port":80,"targetPort":8080},{"protocol":"UDP","port":53}]},
          "status":{"loadBalancer":{"ingress":[{"ip":"10.0.4.1","ipMode":"VIP"}]}}}"#,
    );
    assert_eq!(view.key.to_string(), "shop/web");
    assert_eq!(view.created, Some(1_767_323_045));
    assert!(view.is_load_balancer());
    assert_eq!(view.families, [IpFamily::V4, IpFamily::V6]);
    assert_eq!(view.family_policy, FamilyPolicy::PreferDualStack);
    assert_eq!(view.traffic_policy, TrafficPolicy::Local);
    assert_eq!(view.selector_text, "a=1,b=2");
    assert_eq!(view.ports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["TCP/80", "UDP/53"]);
    assert_eq!(view.addresses(), ["10.0.4.1".parse::<IpAddr>().expect("an address")]);
    assert_eq!(view.pool_annotation.as_deref(), Some("home"));
    assert_eq!(view.sharing_key.as_deref(), Some("k"));
    assert!(view.deprecated_annotations);
    let managers: Vec<_> = view.managed.iter().map(|entry| (entry.manager.as_str(), entry.applied)).collect();
    assert_eq!(managers, [("herald-controller", true)]);
}

#[test]
fn nothing_at_all_is_still_a_service() {
    let empty = ServiceView::default();
    assert_eq!(view("{}"), empty);
    let nulls = r#"{"metadata":null,"spec":null,"status":null}"#;
    assert_eq!(view(nulls), empty);
    let deep = r#"{"metadata":{"labels":null,"annotations":null,"managedFields":null},
        "spec":{"clusterIPs":null,"ports":null,"selector":null},"status":{"loadBalancer":{"ingress":null}}}"#;
    assert_eq!(view(deep), empty);
}

#[test]
fn a_headless_service_has_no_cluster_address() {
    let view = view(r#"{"spec":{"clusterIP":"None","clusterIPs":["None"]}}"#);
    assert!(view.cluster_ips.is_empty());
    assert!(view.families.is_empty());
}

#[test]
fn the_current_prefix_wins_even_when_empty() {
    let view = view(
        r#"{"metadata":{"annotations":{"metallb.io/allow-shared-ip":"","metallb.universe.tf/allow-shared-ip":"old"}}}"#,
    );
    assert_eq!(view.sharing_key, None);
    assert!(view.deprecated_annotations);
}

#[test]
fn a_host_name_in_the_status_is_no_address() {
    let ingress =
        |json: &str| view(&format!(r#"{{"status":{{"loadBalancer":{{"ingress":{json}}}}}}}"#)).ingress;
    assert_eq!(ingress("[]"), Ingress::None);
    assert_eq!(ingress(r#"[{"hostname":"lb.example"}]"#), Ingress::Invalid("lb.example".to_owned()));
    assert_eq!(ingress(r#"[{"ip":"10.0.4.1"},{"ip":"many"}]"#), Ingress::Invalid("many".to_owned()));
}

#[test]
fn a_service_is_ours_by_exactly_our_class() {
    assert!(class_is_ours(None, None));
    assert!(!class_is_ours(Some("metal.example/bgp"), None));
    assert!(class_is_ours(Some("metal.example/bgp"), Some("metal.example/bgp")));
    assert!(!class_is_ours(None, Some("metal.example/bgp")));
}

#[test]
fn a_record_vouches_only_for_what_the_same_manager_wrote() {
    let managed = |entries: &str| {
        view(&format!(
            r#"{{"metadata":{{"annotations":{{"metallb.io/ip-allocated-from-pool":"home"}},"managedFields":[{entries}]}}}}"#
        ))
    };
    let entry = |manager: &str, fields: &str| {
        format!(
            r#"{{"manager":"{manager}","operation":"Update","subresource":"status","fieldsV1":{{{fields}}}}}"#
        )
    };
    let status = r#""f:status":{"f:loadBalancer":{"f:ingress":{}}}"#;
    let record = r#""f:metadata":{"f:annotations":{"f:metallb.io/ip-allocated-from-pool":{}}}"#;
    let both = format!("{record},{status}");
    for (entries, expected) in [
        (String::new(), Some("home")),
        (entry("herald-controller", &both), Some("home")),
        (entry("controller", &both), Some("home")),
        (format!("{},{}", entry("controller", record), entry("controller", status)), Some("home")),
        (format!("{},{}", entry("herald-controller", record), entry("k3s", status)), None),
        (entry("herald-controller", record), None),
        (entry("k3s", status), None),
    ] {
        assert_eq!(managed(&entries).vouched_pool(), expected, "{entries}");
    }
}

#[test]
fn of_the_conditions_only_ours_is_read() {
    let view = view(
        r#"{"status":{"conditions":[{"type":"LoadBalancerPortsError","status":"True"},
            {"type":"herald-lb.io/AddressAssigned","status":"False","reason":"Exhausted","message":"no available IPs",
             "lastTransitionTime":"2026-01-02T03:05:00Z"}]}}"#,
    );
    let condition = view.condition.expect("a condition");
    assert!(!condition.holds);
    assert_eq!((condition.reason.as_str(), condition.message.as_str()), ("Exhausted", "no available IPs"));
    assert_eq!(condition.since.map(|time| time.0.as_second()), Some(1_767_323_100));
}
