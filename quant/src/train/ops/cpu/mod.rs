//! Operators with kernels of their own on the processor: channels last, as the graph has them, one thread per sample.
//!
//! Sums over samples are made in their order, whatever thread had them, so that results are the same every time.

pub mod conv;
pub mod pool;

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId, checkpoint::strategy::NoCheckpointing};
use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, TensorData};
use std::fmt::Debug;

/// An operator of `N` operands, all of them flat.
pub trait Kernel<const N: usize>: Clone + Debug + Send + 'static {
    /// The result.
    fn forward(&self, args: [&[f32]; N]) -> Vec<f32>;

    /// Gradients of the operands that `wanted` asks for, from the gradient `dy` of the result.
    fn backward(&self, args: [&[f32]; N], dy: &[f32], wanted: [bool; N]) -> [Option<Vec<f32>>; N];
}

/// Whether a tensor lives on the processor.
pub fn here(x: &Tensor<1>) -> bool {
    x.device().inner() == burn::tensor::Device::flex()
}

/// Apply `kernel` to tensors on the processor; gradients are recorded where an operand records them.
pub fn apply<K: Kernel<N>, const N: usize>(kernel: K, args: [Tensor<1>; N]) -> Tensor<1> {
    if !args.iter().any(Tensor::is_autodiff) {
        let plain = args.map(|a| a.try_into_primitive::<Flex>().expect("checked by `here`"));
        return Tensor::from_primitive::<Flex>(forward(&kernel, &plain));
    }
    let tracked = args.map(|a| {
        let a = a.autodiff();
        a.try_into_primitive::<Autodiff<Flex>>()
            .expect("checked by `here`")
    });
    let nodes = tracked.each_ref().map(|t| t.node());
    let y = match Recorded(kernel.clone())
        .prepare::<NoCheckpointing>(nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(mut prep) => {
            let states = tracked.each_ref().map(|t| prep.checkpoint(t));
            let plain = tracked.map(|t| t.into_primitive());
            let y = forward(&kernel, &plain);
            prep.finish((states, kernel), y)
        }
        OpsKind::UnTracked(prep) => {
            let plain = tracked.map(|t| t.into_primitive());
            prep.finish(forward(&kernel, &plain))
        }
    };
    Tensor::from_primitive::<Autodiff<Flex>>(y)
}

fn forward<K: Kernel<N>, const N: usize>(kernel: &K, args: &[FlexTensor; N]) -> FlexTensor {
    let args = args.each_ref().map(FlexTensor::to_contiguous);
    tensor(kernel.forward(args.each_ref().map(|a| a.storage::<f32>())))
}

fn tensor(values: Vec<f32>) -> FlexTensor {
    let len = values.len();
    FlexTensor::from_data(TensorData::new(values, [len]))
}

/// The step that runs a kernel backward.
#[derive(Debug)]
struct Recorded<K>(K);

impl<K: Kernel<N>, const N: usize> Backward<Flex, N> for Recorded<K> {
    type State = ([NodeId; N], K);

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let dy = grads.consume::<Flex>(&ops.node).to_contiguous();
        let (states, kernel) = ops.state;
        let args = states.map(|s| {
            checkpointer
                .retrieve_node_output::<FlexTensor>(s)
                .to_contiguous()
        });
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let slices = args.each_ref().map(|a| a.storage::<f32>());
        let found = kernel.backward(slices, dy.storage::<f32>(), wanted);
        for (parent, grad) in ops.parents.into_iter().zip(found) {
            if let (Some(node), Some(grad)) = (parent, grad) {
                grads.register::<Flex>(node.id, tensor(grad));
            }
        }
    }
}
