"""Lints the chart, renders it with Helm, and holds what comes out against manifests/herald.yaml.

`cargo xtask chart` starts this with the packages that it needs (helm-python-sdk, which is Helm itself as a library, and
kubernetes-validate, the published schemas of Kubernetes). Arguments: the folder of the manifests.
"""

import json
import pathlib
import sys

import helm_python as helm
import kubernetes_validate
import yaml

VERSIONS = ["1.33", "1.34", "1.35", "1.36"]
# The kinds that Kubernetes' own schemas do not know; the API server judges CRDs in the system tests.
FOREIGN = {"CustomResourceDefinition", "PodMonitor", "PrometheusRule"}

manifests = pathlib.Path(sys.argv[1])
chart = helm.Chart.load(manifests / "charts/herald")


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def key(document):
    return (document["kind"], document["metadata"]["name"])


def render(values, namespace="metallb-system", **how):
    files = chart.render(values=values, name="herald", namespace=namespace, **how)
    found = {}
    for name, text in files.items():
        if name.endswith(".yaml"):
            for document in documents(text):
                assert key(document) not in found, f"twice: {key(document)}"
                found[key(document)] = document
    return found, next(text for name, text in files.items() if name.endswith("NOTES.txt"))


def pod(objects, kind, name):
    return objects[(kind, name)]["spec"]["template"]["spec"]


def refused(values, word):
    try:
        render(values)
    except helm.HelmError as error:
        assert word in str(error), f"{values} is refused with other words: {error}"
        return
    raise AssertionError(f"{values} is not refused")


def the_chart_has_no_fault():
    report = helm.lint(manifests / "charts/herald")
    worse = [message for message in report["messages"] if message["severity"] > 1]
    assert not report["errors"] and not worse, report


def without_values_it_is_what_herald_yaml_is():
    one_file = {key(document): document for document in documents((manifests / "herald.yaml").read_text())}
    del one_file[("Namespace", "metallb-system")]
    objects, _ = render({})
    for kind, name in one_file:
        if kind == "CustomResourceDefinition":
            kept = objects[(kind, name)]["metadata"].pop("annotations")
            assert kept == {"helm.sh/resource-policy": "keep"}, kept
    assert objects.keys() == one_file.keys(), objects.keys() ^ one_file.keys()
    for name, wanted in one_file.items():
        assert objects[name] == wanted, f"{name} differs:\n{yaml.dump(objects[name])}\n{yaml.dump(wanted)}"


def the_published_schemas_take_every_object():
    monitored = {"prometheus": {"podMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}}
    sources = [render({})[0].values(), render(monitored)[0].values(), documents((manifests / "herald.yaml").read_text())]
    sources.append(documents((manifests / "components/network-policy/policy.yaml").read_text()))
    for version in VERSIONS:
        for document in (document for source in sources for document in source):
            if document["kind"] not in FOREIGN:
                kubernetes_validate.validate(document, version, strict=True)


def values_reach_their_place():
    objects, _ = render(
        {
            "image": {"repository": "registry.example.org/herald", "tag": "9"},
            "imagePullSecrets": [{"name": "pull"}],
            "loadBalancerClass": "example.org/bgp",
            "prometheus": {"metricsPort": 9120},
            "controller": {
                "replicas": 3,
                "logLevel": "all",
                "nodeSelector": {"a": "b"},
                "resources": {"limits": {"memory": "1Gi"}},
                "serviceAccount": {"create": False, "name": "mine"},
                "strategy": {"type": "Recreate"},
                "podAnnotations": {"x": "y"},
            },
            "speaker": {
                "ignoreExcludeLB": True,
                "image": {"tag": "10"},
                "tolerations": [{"key": "k", "operator": "Exists"}],
                "updateStrategy": {"type": "OnDelete"},
                "priorityClassName": "mine",
                "extraArgs": ["--on-terminate=remove"],
                "labels": {"l": "m"},
            },
        },
        namespace="elsewhere",
    )
    deployment = objects[("Deployment", "controller")]
    controller, speaker = pod(objects, "Deployment", "controller"), pod(objects, "DaemonSet", "speaker")
    assert deployment["metadata"]["namespace"] == "elsewhere"
    assert deployment["spec"]["replicas"] == 3 and deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert deployment["spec"]["template"]["metadata"]["annotations"] == {"x": "y"}
    assert controller["containers"][0]["image"] == "registry.example.org/herald:9"
    assert speaker["containers"][0]["image"] == "registry.example.org/herald:10"
    assert controller["imagePullSecrets"] == [{"name": "pull"}]
    assert controller["nodeSelector"] == {"a": "b"} and controller["serviceAccountName"] == "mine"
    assert controller["containers"][0]["resources"] == {"limits": {"memory": "1Gi"}}
    assert "--log-level=trace" in controller["containers"][0]["args"]
    arguments = speaker["containers"][0]["args"]
    for flag in ["--load-balancer-class=example.org/bgp", "--ignore-exclude-lb", "--metrics-addr=0.0.0.0:9120", "--on-terminate=remove"]:
        assert flag in arguments, (flag, arguments)
    assert "--load-balancer-class=example.org/bgp" in controller["containers"][0]["args"]
    assert speaker["tolerations"] == [{"key": "k", "operator": "Exists"}] and speaker["priorityClassName"] == "mine"
    assert objects[("DaemonSet", "speaker")]["spec"]["updateStrategy"] == {"type": "OnDelete"}
    assert objects[("DaemonSet", "speaker")]["spec"]["template"]["metadata"]["labels"]["l"] == "m"
    assert ("ServiceAccount", "mine") not in objects and ("ServiceAccount", "controller") not in objects
    subject = objects[("RoleBinding", "controller")]["subjects"][0]
    assert subject == {"kind": "ServiceAccount", "name": "mine", "namespace": "elsewhere"}, subject


def parts_can_be_left_out():
    whole, _ = render({})
    for values, missing in [
        ({"crds": {"enabled": False}}, "CustomResourceDefinition"),
        ({"controller": {"replicas": 1}}, "PodDisruptionBudget"),
        ({"controller": {"enabled": False}}, "Deployment"),
        ({"speaker": {"enabled": False}}, "DaemonSet"),
        ({"rbac": {"create": False}}, "ClusterRole"),
    ]:
        kinds = {kind for kind, _ in render(values)[0]}
        assert missing in {kind for kind, _ in whole} and missing not in kinds, (values, kinds)
    objects, _ = render({"fullnameOverride": "x"})
    assert ("Deployment", "x-controller") in objects and ("DaemonSet", "x-speaker") in objects
    kept, _ = render({"crds": {"keep": False}})
    assert all("annotations" not in document["metadata"] for (kind, _), document in kept.items() if kind == "CustomResourceDefinition")


def monitoring_is_the_component():
    folder = manifests / "components/monitoring"
    wanted = {}
    for name in ["monitors.yaml", "rules.yaml"]:
        wanted.update({key(document): document for document in documents((folder / name).read_text())})
    objects, _ = render({"prometheus": {"podMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}})
    for name, document in wanted.items():
        assert objects[name] == document, f"{name} differs:\n{yaml.dump(objects[name])}"
    assert "--metrics-addr=0.0.0.0:9120" in pod(objects, "DaemonSet", "speaker")["containers"][0]["args"]
    scraped, _ = render({"prometheus": {"scrapeAnnotations": True}})
    found = scraped[("DaemonSet", "speaker")]["spec"]["template"]["metadata"]["annotations"]
    assert found == {"prometheus.io/scrape": "true", "prometheus.io/port": "9120"}, found


def an_upgrade_and_its_way_back_change_only_what_was_asked():
    before, _ = render({}, revision=1, is_install=True, is_upgrade=False)
    upgraded, _ = render({"image": {"tag": "0.2.0"}}, revision=2, is_install=False, is_upgrade=True)
    back, _ = render({}, revision=3, is_install=False, is_upgrade=True)
    assert back == before
    differing = {name for name in before if before[name] != upgraded[name]}
    assert differing == {("Deployment", "controller"), ("DaemonSet", "speaker")}, differing
    for name in differing:
        assert before[name]["spec"]["selector"] == upgraded[name]["spec"]["selector"], "selectors cannot be changed"


def wrong_values_are_refused_by_their_name():
    refused({"controller": {"replicas": "two"}}, "replicas")
    refused({"speaker": {"logLevel": "loud"}}, "logLevel")
    refused({"prometheus": {"metricsPort": 70000}}, "metricsPort")
    refused({"image": {"digest": "sha256:12"}}, "digest")
    refused({"speeker": {}}, "speeker")


def without_effect(schema, path=()):
    """The values that the schema takes from MetalLB's chart and nobody reads."""
    for name, one in schema.get("properties", {}).items():
        if one.get("description", "").startswith("MetalLB's; read by nobody"):
            yield (*path, name)
        else:
            yield from without_effect(one, (*path, name))


def what_metallb_has_and_herald_not_is_named_in_the_notes():
    schema = json.loads((manifests / "charts/herald/values.schema.json").read_text())
    paths = list(without_effect(schema))
    assert len(paths) > 20, paths
    for path in paths:
        values = {"x": True}
        for part in reversed(path):
            values = {part: values}
        warning = next((line for line in render(values)[1].splitlines() if line.startswith("WARNING")), "")
        assert warning.endswith(f"here: {'.'.join(path)}."), (path, warning)
    _, notes = render({"speaker": {"frr": {"enabled": True}}, "frrk8s": {"enabled": False}})
    assert "here: frrk8s, speaker.frr." in notes, notes
    _, silent = render({})
    assert "WARNING" not in silent and silent.count("kubectl") == 3, silent


CHECKS = [
    the_chart_has_no_fault,
    without_values_it_is_what_herald_yaml_is,
    the_published_schemas_take_every_object,
    values_reach_their_place,
    parts_can_be_left_out,
    monitoring_is_the_component,
    an_upgrade_and_its_way_back_change_only_what_was_asked,
    wrong_values_are_refused_by_their_name,
    what_metallb_has_and_herald_not_is_named_in_the_notes,
]

for check in CHECKS:
    check()
    print(f"chart: {check.__name__.replace('_', ' ')}")
print(f"chart: {len(CHECKS)} checks passed with Helm {helm.helm_sdk_version()}, schemas {', '.join(VERSIONS)}")
