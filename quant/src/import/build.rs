//! The walk over the nodes of a file.

use super::call::Call;
use super::consts::{self, Constant};
use super::{Options, Res, limits, ops, ports, qdq};
use crate::Error;
use crate::ir::{FileQuant, Graph, Op, Port, Value, ValueId, infer};
use ndarray::ArrayD;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use tract_onnx::pb::{ModelProto, NodeProto};

/// What a name of the file stands for.
#[derive(Clone, Debug)]
pub enum Item {
    /// Depends on the inputs.
    Data(ValueId),
    Const(Constant),
    /// 8-bit codes of a value between QuantizeLinear and DequantizeLinear.
    Codes(ValueId, FileQuant),
}

/// The graph as far as it is built.
pub struct Builder {
    pub opset: i64,
    pub graph: Graph,
    items: HashMap<String, Item>,
    /// Names that a node or an output of the graph reads.
    read: HashSet<String>,
    /// Values that have got their name from the file.
    named: HashSet<ValueId>,
    /// Elements of constants that have been computed so far.
    computed: usize,
}

/// Build the graph of a checked model.
pub fn build(model: &ModelProto, path: &Path, options: &Options) -> Result<Graph, Error> {
    let fail = |text: String| Error::file(path, text);
    let file = path.display().to_string();
    let source = model
        .graph
        .as_ref()
        .ok_or_else(|| fail("holds no graph".into()))?;
    let standard = |n: &&NodeProto| matches!(n.domain.as_str(), "" | "ai.onnx");
    let known = |op: &str| ops::find(op).is_some() || consts::evaluates(op);
    if let Some(node) = source
        .node
        .iter()
        .find(|n| !standard(n) || !known(&n.op_type))
    {
        return Err(Error::node(
            &file,
            &node_name(node),
            &operator(node),
            ops::unsupported(),
        ));
    }
    let outputs = source.output.iter().map(|o| &o.name);
    let read = source.node.iter().flat_map(|n| &n.input).chain(outputs);
    let mut builder = Builder {
        opset: limits::opset(model).map_err(fail)?,
        graph: Graph {
            name: source.name.clone(),
            ..Graph::default()
        },
        items: HashMap::new(),
        read: read.cloned().collect(),
        named: HashSet::new(),
        computed: 0,
    };
    for t in &source.initializer {
        let constant = consts::tensor(t).map_err(fail)?;
        builder
            .define(&t.name, Item::Const(constant))
            .map_err(fail)?;
    }
    for (name, shape) in ports::inputs(source, options).map_err(fail)? {
        builder.input(name, shape).map_err(fail)?;
    }
    for node in &source.node {
        let called = builder.node(node);
        called.map_err(|text| Error::node(&file, &node_name(node), &operator(node), text))?;
    }
    for info in &source.output {
        builder.output(&info.name).map_err(fail)?;
    }
    if builder.graph.outputs.is_empty() {
        return Err(fail("has no output".into()));
    }
    infer::check_graph(&builder.graph).map_err(fail)?;
    Ok(builder.graph)
}

/// Name of a node, or of its first output where it has none.
fn node_name(node: &NodeProto) -> String {
    let output = node.output.iter().find(|o| !o.is_empty());
    match node.name.is_empty() {
        false => node.name.clone(),
        true => output.cloned().unwrap_or_else(|| "unnamed".into()),
    }
}

fn operator(node: &NodeProto) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    }
}

impl Builder {
    /// What `name` stands for.
    pub fn item(&self, name: &str) -> Res<&Item> {
        self.items.get(name).ok_or_else(|| {
            format!("reads `{name}`, which no earlier node, input or initializer defines")
        })
    }

    /// Whether anything reads `name`.
    pub fn is_read(&self, name: &str) -> bool {
        self.read.contains(name)
    }

    /// Whether `id` holds indices, from ArgMax.
    pub fn is_index(&self, id: ValueId) -> bool {
        let writer = self.graph.nodes.iter().rev().find(|n| n.output == id);
        match writer.map(|n| &n.op) {
            Some(Op::ArgMax { .. }) => true,
            Some(Op::Reshape | Op::Transpose { .. } | Op::Slice { .. }) => {
                writer.is_some_and(|n| self.is_index(n.inputs[0]))
            }
            _ => false,
        }
    }

    pub fn define(&mut self, name: &str, item: Item) -> Res<()> {
        if let Item::Data(id) | Item::Codes(id, _) = item
            && self.named.insert(id)
        {
            self.graph.values[id.0].name = name.into();
        }
        match self.items.insert(name.into(), item) {
            Some(_) => Err(format!("`{name}` is defined twice")),
            None => Ok(()),
        }
    }

    fn input(&mut self, name: &str, shape: Vec<usize>) -> Res<()> {
        let perm = (0..shape.len()).collect();
        let value = self.value(name, shape.clone());
        self.graph.inputs.push(Port {
            value,
            name: name.into(),
            file_shape: shape,
            perm,
        });
        self.define(name, Item::Data(value))
    }

    fn output(&mut self, name: &str) -> Res<()> {
        let value = match self
            .item(name)
            .map_err(|_| format!("output `{name}` is never written"))?
        {
            Item::Data(id) => *id,
            Item::Const(constant) => {
                let constant = constant.clone();
                self.constant(name, constant.floats()?, constant.quant)?
            }
            Item::Codes(..) => {
                return Err(format!(
                    "output `{name}` holds 8-bit codes; let the file end with DequantizeLinear"
                ));
            }
        };
        let file_shape = self.graph.value(value).shape.clone();
        let perm = (0..file_shape.len()).collect();
        self.graph.outputs.push(Port {
            value,
            name: name.into(),
            file_shape,
            perm,
        });
        Ok(())
    }

    /// A new value that some node will write.
    pub fn value(&mut self, name: &str, shape: Vec<usize>) -> ValueId {
        self.graph.add_value(Value {
            name: name.into(),
            shape,
            constant: None,
            quant: None,
        })
    }

    /// A new constant value. NaN and infinities are refused.
    pub fn constant(
        &mut self,
        name: &str,
        array: ArrayD<f32>,
        quant: Option<FileQuant>,
    ) -> Res<ValueId> {
        if let Some(bad) = array.iter().find(|v| !v.is_finite()) {
            return Err(format!("tensor `{name}` holds {bad}"));
        }
        let shape = array.shape().to_vec();
        let constant = Some(Arc::new(array.as_standard_layout().into_owned()));
        Ok(self.graph.add_value(Value {
            name: name.into(),
            shape,
            constant,
            quant,
        }))
    }

    fn node(&mut self, node: &NodeProto) -> Res<()> {
        let inputs: Vec<Item> = node
            .input
            .iter()
            .filter(|n| !n.is_empty())
            .map(|n| self.item(n).cloned())
            .collect::<Res<_>>()?;
        let constants: Option<Vec<Constant>> = inputs
            .iter()
            .map(|item| match item {
                Item::Const(c) => Some(c.clone()),
                _ => None,
            })
            .collect();
        if let Some(constants) = constants
            && self.evaluate(node, &constants)?
        {
            return Ok(());
        }
        let Some(op) = ops::find(&node.op_type) else {
            return Err(ops::unsupported());
        };
        let codes = match inputs.first() {
            Some(Item::Codes(id, quant)) if ops::moves_codes(&node.op_type) => {
                Some((*id, quant.clone()))
            }
            _ => None,
        };
        let mut call = Call::new(self, node, node_name(node));
        call.codes = codes.as_ref().map(|(id, _)| *id);
        op(&mut call)?;
        call.attrs.all_read()?;
        if let Some((_, quant)) = codes {
            self.rewrap(node, &quant)?;
        }
        Ok(())
    }

    /// Outputs of a node that moves codes are codes again.
    fn rewrap(&mut self, node: &NodeProto, quant: &FileQuant) -> Res<()> {
        for name in node.output.iter().filter(|n| !n.is_empty()) {
            if let Some(Item::Data(id)) = self.items.get(name) {
                let id = qdq::set_quant(&mut self.graph, *id, quant);
                self.items
                    .insert(name.clone(), Item::Codes(id, quant.clone()));
            }
        }
        Ok(())
    }

    /// Evaluate a node on constants; `false` where that is not done for its operator.
    fn evaluate(&mut self, node: &NodeProto, inputs: &[Constant]) -> Res<bool> {
        if inputs.is_empty() {
            return Ok(false);
        }
        let outputs = match qdq::constant(node, inputs)? {
            Some(output) => vec![output],
            None => {
                let Some(bound) = consts::bound(node, inputs)? else {
                    return Ok(false);
                };
                self.computed += bound;
                if bound > infer::ELEMENTS_MAX || self.computed > limits::CONSTANTS_MAX {
                    return Err("its constant output is too large".into());
                }
                let mut outputs = consts::evaluate(node, self.opset, inputs)?;
                qdq::carry(node, inputs, &mut outputs);
                outputs
            }
        };
        let names = node.output.iter().filter(|n| !n.is_empty());
        for (name, constant) in names.zip(outputs) {
            self.define(name, Item::Const(constant))?;
        }
        Ok(true)
    }

    /// Append a node; its output has the shape that follows, or `shape` where that is a parameter.
    pub fn emit(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[ValueId],
        shape: Option<Vec<usize>>,
    ) -> Res<ValueId> {
        let shapes: Vec<&[usize]> = inputs
            .iter()
            .map(|&i| self.graph.value(i).shape.as_slice())
            .collect();
        let shape = match (infer::output_shape(&op, &shapes)?, shape) {
            (Some(shape), _) | (None, Some(shape)) => shape,
            (None, None) => return Err("output shape is unknown".into()),
        };
        infer::elements(&shape)?;
        infer::check(&op, &shapes, &shape)?;
        let output = self.value(name, shape);
        self.graph.nodes.push(crate::ir::Node {
            name: name.into(),
            op,
            inputs: inputs.to_vec(),
            output,
        });
        Ok(output)
    }
}
