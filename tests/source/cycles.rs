//! The modules of one directory import each other without a cycle.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Source, sources};

type Graph = BTreeMap<String, BTreeSet<String>>;

/// The modules directly below `directory` and those that each of them names. The module of the directory itself, which composes
/// them, is not part of the graph.
fn imports(directory: &str) -> Graph {
    let prefix = format!("crate::{}::", directory.replace('/', "::"));
    let mut graph = Graph::new();
    for Source { place, named, .. } in sources() {
        let Ok(below) = place.strip_prefix(directory) else { continue };
        let own = below.with_extension("").iter().next().unwrap().to_str().unwrap().to_owned();
        let others = named.iter().filter_map(|named| named.path.strip_prefix(&prefix)?.split("::").next().map(str::to_owned));
        let others: BTreeSet<String> = others.filter(|other| *other != own).collect();
        graph.entry(own).or_default().extend(others);
    }
    let modules: BTreeSet<String> = graph.keys().cloned().collect();
    for others in graph.values_mut() {
        others.retain(|other| modules.contains(other));
    }
    graph
}

/// A cycle in the graph: its modules, the first one again at the end.
fn cycle(graph: &Graph) -> Option<Vec<String>> {
    let mut without_cycle = BTreeSet::new();
    graph.keys().find_map(|start| visit(graph, start, &mut Vec::new(), &mut without_cycle))
}

fn visit<'a>(graph: &'a Graph, module: &'a str, trail: &mut Vec<&'a str>, without_cycle: &mut BTreeSet<&'a str>) -> Option<Vec<String>> {
    if let Some(at) = trail.iter().position(|visited| *visited == module) {
        return Some(trail[at..].iter().chain([&module]).map(|name| (*name).to_owned()).collect());
    }
    if without_cycle.contains(module) {
        return None;
    }
    trail.push(module);
    let found = graph.get(module).into_iter().flatten().find_map(|next| visit(graph, next, trail, without_cycle));
    trail.pop();
    without_cycle.insert(module);
    found
}

#[test]
fn modules_import_each_other_without_a_cycle() {
    for (directory, known) in [
        ("domain", ("overview", "uploads")),
        ("console/http", ("session", "error")),
        ("console/view", ("filters", "units")),
        ("stores", ("postgres", "tls")),
    ] {
        let graph = imports(directory);
        assert!(graph[known.0].contains(known.1), "{directory}: {graph:?}");
        assert_eq!(cycle(&graph), None, "{directory}");
    }
}

#[test]
fn a_cycle_is_found() {
    let graph = |edges: &[(&str, &str)]| -> Graph {
        edges.iter().map(|(from, to)| ((*from).to_owned(), BTreeSet::from([(*to).to_owned()]))).collect()
    };
    assert_eq!(cycle(&graph(&[("a", "b"), ("b", "c")])), None);
    assert_eq!(cycle(&graph(&[("a", "b"), ("b", "c"), ("c", "b")])).unwrap(), ["b", "c", "b"]);
}
