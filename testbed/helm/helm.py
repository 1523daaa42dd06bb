"""`helm` on the command line, as far as the documents use it, with Helm itself as a library (helm-python-sdk).

The cluster is that of KUBECONFIG.
"""

import argparse
import sys

import helm_python


def merged(values, more):
    for name, value in more.items():
        known = values.get(name)
        values[name] = merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return values


def arguments():
    parser = argparse.ArgumentParser(prog="helm")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ["install", "upgrade", "rollback", "uninstall"]:
        command = commands.add_parser(name)
        command.add_argument("release")
        command.add_argument("--namespace", "-n", default="default")
        if name in ["install", "upgrade"]:
            command.add_argument("chart")
            command.add_argument("--set", action="append", default=[], dest="values")
        if name == "install":
            command.add_argument("--create-namespace", action="store_true")
    return parser.parse_args()


def main():
    order = arguments()
    with helm_python.Config(namespace=order.namespace) as cluster:
        if order.command in ["install", "upgrade"]:
            values = {}
            for expression in order.values:
                merged(values, helm_python.parse_set_string(expression))
            how = {"create_namespace": True} if getattr(order, "create_namespace", False) else {}
            act = cluster.install if order.command == "install" else cluster.upgrade
            with helm_python.Chart.load(order.chart) as chart:
                release = act(chart, order.release, values, namespace=order.namespace, **how)
            print(release.get("notes") or release.get("info", {}).get("notes", ""))
        elif order.command == "rollback":
            cluster.rollback(order.release)
        else:
            cluster.uninstall(order.release)


try:
    main()
except helm_python.HelmError as error:
    sys.exit(f"helm: {error}")
