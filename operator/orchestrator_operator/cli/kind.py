"""`orchestrator kind`: a cluster with real Pods on this machine, with the product built from the checkout in it."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.options import Output, OutputOption, examples, print_json
from orchestrator_operator.kind.cluster import KindCluster, end_daemon
from orchestrator_operator.kind.install import Installer, kubectl
from orchestrator_operator.kind.product import ProductImage
from orchestrator_operator.local import ConsoleReporter

app = typer.Typer(help="A kind cluster with the product in it.", no_args_is_help=True, rich_markup_mode=None)

NameOption = Annotated[
    str, typer.Option("--name", help="The cluster's name; several run side by side.", metavar="NAME")
]


@app.command(epilog=examples("orchestrator kind up", "orchestrator kind up --name try --output json"))
def up(name: NameOption = "orchestrator", output: OutputOption = Output.TABLE) -> None:
    """Make a cluster, build the product's image, and install it there in one Pod.

    Uses the Docker that answers, else starts one of its own. Pulls the node image, or builds it where no registry is
    reachable: about a quarter of an hour on two cores, once. Run it again to install what changed in the checkout.

    Exit codes: 0 it runs, 1 it does not, and why.
    """
    report = ConsoleReporter()
    cluster = KindCluster.open(name, report)
    cluster.up()
    image = ProductImage(cluster.places, cluster.steps).get()
    cluster.load(image)
    Installer(cluster, kubectl(report)).single(image)
    if output is Output.JSON:
        print_json({"name": name, "kubeconfig": str(cluster.kubeconfig), "image": image})
        return
    typer.echo(f"export KUBECONFIG={cluster.kubeconfig}")
    typer.echo("kubectl --namespace=orchestrator get pods")


@app.command(epilog=examples("orchestrator kind down", "orchestrator kind down --name try"))
def down(name: NameOption = "orchestrator", output: OutputOption = Output.TABLE) -> None:
    """Delete the cluster, and end the Docker daemon that `up` started, if it did. Nothing to end is fine, too."""
    report = ConsoleReporter()
    KindCluster.open(name, report).down()
    ended = end_daemon(report)
    if output is Output.JSON:
        print_json({"name": name, "daemonEnded": ended})
    else:
        typer.echo(f"the cluster {name} is gone")
