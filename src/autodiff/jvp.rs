//! Forward derivatives.

use crate::ir::{Graph, NodeId, Op, Scalar};

/// Tangents of `outputs`, given the tangents of some nodes (`seeds`: node, tangent); `None` where an
/// output does not depend on a seed.
///
/// The kind of a primitive settles its rule: pointwise, Σ ∂f/∂xᵢ · dxᵢ; multilinear, the same
/// primitive with dxᵢ in slot i, summed; index-valued, nothing.
pub fn jvp(g: &mut Graph, outputs: &[NodeId], seeds: &[(NodeId, NodeId)]) -> Vec<Option<NodeId>> {
    let live = g.live(outputs);
    let mut tangents: Vec<Option<NodeId>> = vec![None; live.len()];
    for &(node, tangent) in seeds {
        assert_eq!(g.shape(node), g.shape(tangent), "a tangent has the shape of its node");
        if node.index() < tangents.len() {
            tangents[node.index()] = Some(tangent);
        }
    }
    let seeded: Vec<bool> = tangents.iter().map(Option::is_some).collect();
    for position in 0..live.len() {
        if live[position] && !seeded[position] {
            tangents[position] = node_jvp(g, NodeId(position as u32), &tangents);
        }
    }
    outputs.iter().map(|o| tangents[o.index()]).collect()
}

fn node_jvp(g: &mut Graph, id: NodeId, tangents: &[Option<NodeId>]) -> Option<NodeId> {
    let node = g.node(id).clone();
    let moving: Vec<Option<NodeId>> = node.args.iter().map(|a| tangents[a.index()]).collect();
    if moving.iter().all(Option::is_none) {
        return None;
    }
    let zero_or = |g: &mut Graph, slot: usize| {
        moving[slot].unwrap_or_else(|| {
            let shape = g.shape(node.args[slot]).to_vec();
            g.full(&shape, 0.0)
        })
    };
    match node.op {
        // Linear in several arguments together.
        Op::Concat => {
            let parts: Vec<NodeId> = (0..moving.len()).map(|slot| zero_or(g, slot)).collect();
            vec![g.concat(&parts)]
        }
        Op::Scalar(Scalar::Select) => {
            let (a, b) = (zero_or(g, 1), zero_or(g, 2));
            vec![g.select(node.args[0], a, b)]
        }
        Op::Scalar(f) => {
            let partials = f.partials(g, &node.args, id);
            let terms = moving.iter().zip(partials).filter_map(|(dx, partial)| Some(((*dx)?, partial?)));
            terms.collect::<Vec<_>>().into_iter().map(|(dx, partial)| g.mul(partial, dx)).collect::<Vec<_>>()
        }
        _ => {
            let linear = node.op.linear_in(node.args.len());
            let slots: Vec<(usize, NodeId)> = linear.iter().filter_map(|&k| Some((k, moving[k]?))).collect();
            slots
                .into_iter()
                .map(|(slot, dx)| {
                    let mut args = node.args.clone();
                    args[slot] = dx;
                    g.push(node.op.clone(), args, node.shape.clone(), node.dtype)
                })
                .collect()
        }
    }
    .into_iter()
    .reduce(|a, b| g.add(a, b))
}
