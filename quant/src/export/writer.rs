//! Names, orders and constants of a file that is being written.

use super::proto;
use crate::ir::{Graph, Op, ValueId};
use ndarray::IxDyn;
use std::collections::{HashMap, HashSet};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// Order of the axes of a value in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// As in the graph.
    Last,
    /// Channels moved from the end to axis 1; rank 4 only.
    First,
}

/// `to = transpose(from, perm)` between the orders.
pub const TO_FIRST: [usize; 4] = [0, 3, 1, 2];
pub const TO_LAST: [usize; 4] = [0, 2, 3, 1];

/// A file under construction.
pub struct Writer<'g> {
    pub graph: &'g Graph,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    /// Tensor of the file that holds a value.
    names: HashMap<(ValueId, Order), String>,
    taken: HashSet<String>,
    labels: HashSet<String>,
}

impl<'g> Writer<'g> {
    /// A file with the inputs of `graph`.
    pub fn new(graph: &'g Graph) -> Writer<'g> {
        let ports = graph.inputs.iter().chain(&graph.outputs);
        let mut writer = Writer {
            graph,
            nodes: Vec::new(),
            constants: Vec::new(),
            names: HashMap::new(),
            taken: ports.map(|p| p.name.clone()).collect(),
            labels: HashSet::new(),
        };
        for port in &graph.inputs {
            let shape = &graph.value(port.value).shape;
            if port.perm == TO_LAST {
                writer.define(port.value, Order::First, port.name.clone());
            } else if port.perm.iter().copied().eq(0..shape.len()) {
                writer.define(port.value, Order::Last, port.name.clone());
            } else {
                let moved = writer.transposed(&port.name, &port.perm);
                writer.define(port.value, Order::Last, moved);
            }
        }
        writer
    }

    /// Shape of a value.
    pub fn shape(&self, id: ValueId) -> &'g [usize] {
        &self.graph.value(id).shape
    }

    /// A name that no other tensor has.
    fn fresh(&mut self, wish: &str) -> String {
        unlike(&mut self.taken, wish)
    }

    /// The tensor `name` holds `id`.
    pub fn define(&mut self, id: ValueId, order: Order, name: String) {
        self.names.insert((id, order), name);
    }

    /// The tensor that holds `id` in `order`, if there is one without more work.
    pub fn has(&self, id: ValueId, order: Order) -> Option<&String> {
        self.names.get(&(id, order))
    }

    /// The order that computed operands of rank 4 are in; channels first if all the others are constants.
    pub fn common(&self, ids: &[ValueId]) -> Order {
        let computed = |id: &&ValueId| self.graph.value(**id).constant.is_none();
        let mut computed = ids.iter().filter(computed).peekable();
        let first = computed.peek().is_some()
            && computed
                .all(|&id| self.shape(id).len() == 4 && self.has(id, Order::First).is_some());
        if first { Order::First } else { Order::Last }
    }

    /// The tensor that holds `id` in `order`; transpositions and constants are written where they are missing.
    pub fn get(&mut self, id: ValueId, order: Order) -> String {
        if let Some(name) = self.has(id, order) {
            return name.clone();
        }
        let value = self.graph.value(id);
        let name = if let Some(array) = &value.constant {
            let (wish, array) = match order {
                Order::Last => (value.name.clone(), array.view()),
                Order::First => {
                    let moved = array.view().permuted_axes(IxDyn(&TO_FIRST));
                    (format!("{}_first", value.name), moved)
                }
            };
            let values: Vec<f32> = array.iter().copied().collect();
            self.floats(&wish, array.shape(), values)
        } else {
            let (from, perm) = match order {
                Order::Last => (Order::First, TO_LAST),
                Order::First => (Order::Last, TO_FIRST),
            };
            let from = self
                .has(id, from)
                .expect("nodes are in execution order")
                .clone();
            self.transposed(&from, &perm)
        };
        self.define(id, order, name.clone());
        name
    }

    /// Operand of an elementwise operator whose result has rank 4: constants of lower rank are moved as well.
    pub fn operand(&mut self, id: ValueId, order: Order) -> String {
        let value = self.graph.value(id);
        let rank = value.shape.len();
        match &value.constant {
            Some(array) if order == Order::First && rank < 4 && array.len() > 1 => {
                let full = [vec![1; 4 - rank], value.shape.clone()].concat();
                let values: Vec<f32> = array.iter().copied().collect();
                let grown = ndarray::ArrayD::from_shape_vec(IxDyn(&full), values);
                let moved = grown
                    .expect("ones do not change the size")
                    .permuted_axes(IxDyn(&TO_FIRST));
                let values = moved.iter().copied().collect();
                self.floats(&format!("{}_first", value.name), moved.shape(), values)
            }
            Some(_) if rank < 4 => self.get(id, Order::Last),
            _ => self.get(id, order),
        }
    }

    /// A constant of `f32`.
    pub fn floats(&mut self, wish: &str, shape: &[usize], values: Vec<f32>) -> String {
        let name = self.fresh(wish);
        self.constants
            .push(proto::floats(&name, shape, values.into_iter()));
        name
    }

    /// A constant list of `i64`.
    pub fn indices(&mut self, wish: &str, values: &[usize]) -> String {
        let name = self.fresh(wish);
        self.constants.push(proto::indices(&name, values));
        name
    }

    /// `from` with its axes moved.
    pub fn transposed(&mut self, from: &str, perm: &[usize]) -> String {
        let attributes = vec![proto::ints("perm", perm)];
        self.node(
            "Transpose",
            &format!("{from}_transposed"),
            vec![from.into()],
            attributes,
        )
    }

    /// A node; gives its output, whose name is `wish` or like it.
    pub fn node(
        &mut self,
        op: &str,
        wish: &str,
        input: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) -> String {
        let output = self.fresh(wish);
        self.nodes.push(NodeProto {
            name: unlike(&mut self.labels, &format!("{output}_node")),
            op_type: op.into(),
            input,
            output: vec![output.clone()],
            attribute,
            ..Default::default()
        });
        output
    }

    /// Give the last node the name it has in the graph, or one like it.
    pub fn label(&mut self, name: &str) {
        if let Some(node) = self.nodes.last_mut() {
            node.name = unlike(&mut self.labels, name);
        }
    }

    /// The finished graph with its outputs.
    pub fn finish(mut self) -> GraphProto {
        let graph = self.graph;
        for port in &graph.outputs {
            let held = if port.perm == TO_LAST {
                self.get(port.value, Order::First)
            } else {
                let held = self.get(port.value, Order::Last);
                let mut back = vec![0; port.perm.len()];
                port.perm
                    .iter()
                    .enumerate()
                    .for_each(|(to, &from)| back[from] = to);
                match back.iter().copied().eq(0..back.len()) {
                    true => held,
                    false => self.transposed(&held, &back),
                }
            };
            self.rename(&held, &port.name);
        }
        let inputs = graph.inputs.iter();
        GraphProto {
            name: graph.name.clone(),
            node: self.nodes,
            initializer: self.constants,
            input: inputs
                .map(|p| proto::port(&p.name, &p.file_shape, DataType::Float))
                .collect(),
            output: graph
                .outputs
                .iter()
                .map(|p| proto::port(&p.name, &p.file_shape, kind(graph, p.value)))
                .collect(),
            ..Default::default()
        }
    }

    /// The tensor `from` as the output `to`: under that name, or as a copy where it has to keep its own.
    fn rename(&mut self, from: &str, to: &str) {
        let ports = self.graph.inputs.iter().chain(&self.graph.outputs);
        let fixed = ports.into_iter().any(|p| p.name == from)
            || self.constants.iter().any(|c| c.name == from);
        if fixed {
            self.nodes.push(NodeProto {
                name: unlike(&mut self.labels, &format!("{to}_node")),
                op_type: "Identity".into(),
                input: vec![from.into()],
                output: vec![to.into()],
                ..Default::default()
            });
            return;
        }
        let mentions = self
            .nodes
            .iter_mut()
            .flat_map(|n| n.input.iter_mut().chain(&mut n.output))
            .chain(self.names.values_mut());
        mentions.filter(|n| *n == from).for_each(|n| *n = to.into());
    }
}

/// `wish`, or the first name like it that is not in `taken`, which then holds it.
fn unlike(taken: &mut HashSet<String>, wish: &str) -> String {
    let mut name = wish.to_owned();
    let mut n = 1;
    while !taken.insert(name.clone()) {
        n += 1;
        name = format!("{wish}_{n}");
    }
    name
}

/// Indices are whole numbers, everything else is `f32`.
fn kind(graph: &Graph, id: ValueId) -> DataType {
    let writer = graph.nodes.iter().find(|n| n.output == id);
    match writer.map(|n| &n.op) {
        Some(Op::ArgMax { .. }) => DataType::Int64,
        Some(Op::Reshape) => kind(graph, writer.expect("checked").inputs[0]),
        _ => DataType::Float,
    }
}
