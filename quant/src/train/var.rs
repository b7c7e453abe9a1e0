//! A tensor of any rank whose leading axis runs over the samples of a mini-batch.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Run `$body` with the constant `$d` set to the rank `$rank`, 1 to 9.
macro_rules! with_rank {
    ($rank:expr, $d:ident => $body:expr) => {{
        macro_rules! arm {
            ($n:literal) => {{
                const $d: usize = $n;
                $body
            }};
        }
        match $rank {
            1 => arm!(1),
            2 => arm!(2),
            3 => arm!(3),
            4 => arm!(4),
            5 => arm!(5),
            6 => arm!(6),
            7 => arm!(7),
            8 => arm!(8),
            9 => arm!(9),
            rank => unreachable!("rank {rank}: the importer refuses more than 8 axes"),
        }
    }};
}
pub(super) use with_rank;

/// Elements `[lead, shape..]`, row-major. The operators of the graph see `shape`; `lead` is the number of samples, or 1
/// for what does not depend on the inputs. So a graph with a batch of one is trained with any batch, wherever its
/// operators move the batch axis.
#[derive(Clone, Debug)]
pub struct Var {
    pub flat: Tensor<1>,
    pub lead: usize,
    pub shape: Vec<usize>,
}

impl Var {
    /// `flat` holds `lead` times the elements of `shape`.
    pub fn new(flat: Tensor<1>, lead: usize, shape: &[usize]) -> Var {
        debug_assert_eq!(
            flat.dims()[0],
            lead * shape.iter().product::<usize>(),
            "{lead} x {shape:?}"
        );
        Var {
            flat,
            lead,
            shape: shape.to_vec(),
        }
    }

    /// From the elements of a tensor that has the leading axis.
    pub fn of<const D: usize>(x: Tensor<D>, lead: usize, shape: &[usize]) -> Var {
        let len = x.shape().num_elements();
        Var::new(x.reshape([len]), lead, shape)
    }

    /// Number of elements of one sample.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// The elements as `[lead, shape..]` of rank 4, with the leading axis merged into the first of `shape`.
    ///
    /// # Panics
    /// Where `shape` is not of rank 4.
    pub fn nhwc(&self) -> Tensor<4> {
        let [n, h, w, c] = self.dims4();
        self.flat.clone().reshape([self.lead * n, h, w, c])
    }

    /// [`Var::nhwc`] with the channels moved in front of the spatial axes.
    pub fn nchw(&self) -> Tensor<4> {
        self.nhwc().permute([0, 3, 1, 2])
    }

    /// The shape of a spatial value.
    pub fn dims4(&self) -> [usize; 4] {
        <[usize; 4]>::try_from(self.shape.as_slice()).expect("spatial operators have rank 4")
    }

    /// The elements as `[everything before axis, axis, everything after]`; `axis` counts in `shape`.
    pub fn around(&self, axis: usize) -> Tensor<3> {
        let outer: usize = self.shape[..axis].iter().product();
        let inner: usize = self.shape[axis + 1..].iter().product();
        self.flat
            .clone()
            .reshape([self.lead * outer, self.shape[axis], inner])
    }

    /// Every element, row-major, on the host.
    pub fn to_vec(&self) -> Vec<f32> {
        host(self.flat.clone())
    }
}

/// Elements of a tensor on the host.
pub fn host<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data()
        .try_into_vec::<f32>()
        .expect("tensors of the trainer are f32")
}

/// A vector on `device`.
pub fn vector(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), device)
}

/// Indices on `device`.
pub fn indices(values: &[usize], device: &Device) -> Tensor<1, Int> {
    let list: Vec<i64> = values.iter().map(|&v| v as i64).collect();
    let len = list.len();
    Tensor::from_data(TensorData::new(list, [len]), device)
}
