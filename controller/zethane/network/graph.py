"""Which switches the links leave out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import networkx as nx


def unreachable(switches: Sequence[str], links: Iterable[tuple[str, str]]) -> list[str]:
    """The switches, in order, to which no path leads from the first one."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(switches)
    graph.add_edges_from(links)
    reached = nx.node_connected_component(graph, switches[0])
    return [name for name in switches if name not in reached]
