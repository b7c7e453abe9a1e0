//! Times the kernels of embedded-nn on a layer list: `embedded_nn LAYERS.txt INPUTS SAMPLES`.
//!
//! The crate has kernels and no reader of networks, so the list that `emit.py` writes says which kernel runs on what;
//! the loop over it costs nanoseconds per layer.

use elastiq_peers::{Job, Outcome, Port, finish};
use embedded_nn::{
    Activation, ConvParams, Dims, DwConvParams, ElementwiseAddParams, FcParams, Padding2D,
    PerChannelQuantParams, PerTensorQuantParams, PoolParams, Tile, avg_pool_s8,
    convolve_per_channel_s8, depthwise_conv_per_channel_s8, elementwise_add_s8, fully_connected_s8,
    max_pool_s8, softmax_s8,
};
use std::mem::take;
use std::path::Path;
use std::process::ExitCode;

/// One kernel call; `extra` holds what only add and softmax need.
struct Layer {
    kind: String,
    from: usize,
    to: usize,
    input: Dims,
    output: Dims,
    zero_in: i32,
    zero_out: i32,
    act: Activation,
    kernel: Tile,
    stride: Tile,
    pad: Padding2D,
    extra: Vec<i32>,
    weights: Vec<i8>,
    bias: Vec<i32>,
    mult: Vec<i32>,
    shift: Vec<i32>,
}

struct Net {
    layers: Vec<Layer>,
    tensors: Vec<Vec<i8>>,
    input: (usize, Port),
    output: (usize, Port),
}

fn words(blob: &mut &[u8], n: usize) -> Outcome<Vec<i32>> {
    let (head, rest) = blob
        .split_at_checked(4 * n)
        .ok_or("the weights end early")?;
    *blob = rest;
    Ok(head
        .as_chunks()
        .0
        .iter()
        .map(|w| i32::from_le_bytes(*w))
        .collect())
}

fn port(line: Option<&str>) -> Outcome<(usize, Port)> {
    let part: Vec<&str> = line.ok_or("no port line")?.split(' ').collect();
    let [_, tensor, len, bits, zero] = part[..] else {
        return Err("bad port line".into());
    };
    let scale = f32::from_bits(bits.parse()?);
    Ok((
        tensor.parse()?,
        Port {
            scale,
            zero: zero.parse()?,
            len: len.parse()?,
        },
    ))
}

fn layer(line: &str, blob: &mut &[u8]) -> Outcome<Layer> {
    let (kind, rest) = line.split_once(' ').ok_or("empty line")?;
    let n: Vec<i32> = rest.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [
        from,
        to,
        ih,
        iw,
        ic,
        oh,
        ow,
        oc,
        zero_in,
        zero_out,
        lo,
        hi,
        kh,
        kw,
        sh,
        sw,
        top,
        left,
        ref extra @ ..,
    ] = n[..]
    else {
        return Err(format!("short line: {line}").into());
    };
    let (weights, quants) = match kind {
        "conv" => (kh * kw * ic * oc, oc),
        "depthwise" => (kh * kw * oc, oc),
        "dense" => (ih * iw * ic * oc, 1),
        _ => (0, 0),
    };
    let (head, rest) = blob
        .split_at_checked(weights as usize)
        .ok_or("the weights end early")?;
    *blob = rest;
    let biases = if weights == 0 { 0 } else { oc as usize };
    Ok(Layer {
        kind: kind.into(),
        from: from as usize,
        to: to as usize,
        input: Dims::new(1, ih, iw, ic),
        output: Dims::new(1, oh, ow, oc),
        zero_in,
        zero_out,
        act: Activation::new(lo, hi),
        kernel: Tile::new(kw, kh),
        stride: Tile::new(sw, sh),
        pad: Padding2D::new(top, top, left, left),
        extra: extra.to_vec(),
        weights: head.iter().map(|&b| b as i8).collect(),
        bias: words(blob, biases)?,
        mult: words(blob, quants as usize)?,
        shift: words(blob, quants as usize)?,
    })
}

impl Layer {
    fn run(&self, tensors: &[Vec<i8>], y: &mut [i8]) -> Outcome<()> {
        let (x, input, output) = (&tensors[self.from][..], &self.input, &self.output);
        let filter = Dims::new(output.c, self.kernel.h, self.kernel.w, input.c);
        let (input_offset, output_offset) = (-self.zero_in, self.zero_out);
        let (stride, padding, activation) = (self.stride, self.pad, self.act);
        let dilation = Tile::new(1, 1);
        let quant = PerChannelQuantParams::new(&self.mult, &self.shift);
        let (w, bias) = (&self.weights[..], Some(&self.bias[..]));
        let pool = PoolParams {
            stride,
            padding,
            activation,
        };
        match (self.kind.as_str(), &self.extra[..]) {
            ("conv", _) => {
                let p = ConvParams {
                    input_offset,
                    output_offset,
                    stride,
                    padding,
                    dilation,
                    activation,
                };
                convolve_per_channel_s8(&p, &quant, input, x, &filter, w, bias, output, y)
            }
            ("depthwise", _) => {
                let ch_mult = output.c / input.c;
                let p = DwConvParams {
                    input_offset,
                    output_offset,
                    ch_mult,
                    stride,
                    padding,
                    dilation,
                    activation,
                };
                depthwise_conv_per_channel_s8(&p, &quant, input, x, &filter, w, bias, output, y)
            }
            ("dense", _) => {
                let p = FcParams {
                    input_offset,
                    filter_offset: 0,
                    output_offset,
                    activation,
                };
                let quant = PerTensorQuantParams::new(self.mult[0], self.shift[0]);
                let filter = Dims::new(x.len() as i32, 1, 1, output.c);
                fully_connected_s8(&p, &quant, input, x, &filter, w, bias, output, y)
            }
            ("avgpool", _) => avg_pool_s8(&pool, &self.kernel, input, x, output, y),
            ("maxpool", _) => max_pool_s8(&pool, &self.kernel, input, x, output, y),
            ("reshape", _) => {
                y.copy_from_slice(x);
                Ok(())
            }
            ("add", &[other, zero, left_shift, m1, s1, m2, s2, m3, s3]) => {
                let p = ElementwiseAddParams {
                    input1_offset: input_offset,
                    input1_mult: m1,
                    input1_shift: s1,
                    input2_offset: -zero,
                    input2_mult: m2,
                    input2_shift: s2,
                    left_shift,
                    output_offset,
                    output_mult: m3,
                    output_shift: s3,
                    activation,
                };
                elementwise_add_s8(x, &tensors[other as usize], y, &p)
            }
            ("softmax", &[mult, shift, least]) => softmax_s8(x, 1, x.len(), mult, shift, least, y),
            (kind, _) => return Err(format!("no kernel for {kind}").into()),
        }
        .map_err(|e| format!("{}: {e}", self.kind).into())
    }
}

impl Net {
    fn load(path: &str) -> Outcome<Net> {
        let read = |p: &Path| std::fs::read(p).map_err(|e| format!("{}: {e}", p.display()));
        let text = String::from_utf8(read(Path::new(path))?)?;
        let blob = read(&Path::new(path).with_extension("bin"))?;
        let (mut lines, mut blob) = (text.lines(), &blob[..]);
        let (input, output) = (port(lines.next())?, port(lines.next())?);
        let layers = lines
            .map(|l| layer(l, &mut blob))
            .collect::<Outcome<Vec<_>>>()?;
        let count = layers
            .iter()
            .map(|l| l.from.max(l.to) + 1)
            .max()
            .ok_or("no layers")?;
        let mut tensors = vec![Vec::new(); count];
        for l in &layers {
            tensors[l.to] = vec![0; l.output.total_size()];
        }
        tensors[input.0] = vec![0; input.1.len];
        Ok(Net {
            layers,
            tensors,
            input,
            output,
        })
    }

    fn run(&mut self, x: &[i8]) -> Outcome<()> {
        self.tensors[self.input.0].copy_from_slice(x);
        for layer in &self.layers {
            let mut y = take(&mut self.tensors[layer.to]);
            layer.run(&self.tensors, &mut y)?;
            self.tensors[layer.to] = y;
        }
        Ok(())
    }
}

fn worker() -> Outcome<()> {
    let job = Job::from_args()?;
    let mut net = Net::load(&job.model)?;
    let input = net.input.1;
    job.measure(
        &mut net,
        input,
        <[i8]>::to_vec,
        |net, x| net.run(x),
        |net| net.output.1.dequantize(&net.tensors[net.output.0]),
    )
}

fn main() -> ExitCode {
    finish(worker())
}
