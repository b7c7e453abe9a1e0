//! Choices, their bytes and their averages.

use super::common::{NET, network};
use elastiq::Backend;
use elastiq_quant::Samples;
use elastiq_quant::compile::{CompileOptions, compile_graph};
use elastiq_quant::compress::eqnet::{Format, Space, SpaceOptions, SubnetConfig};
use elastiq_quant::lower::format::{Formats, WeightFormat};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn space(options: SpaceOptions) -> Space {
    Space::new(&network(NET, 1), &options).expect("space")
}

#[test]
fn layers_and_tensors_of_a_network() {
    let s = space(SpaceOptions::default());
    let names: Vec<&str> = s.layers.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["first", "left", "right", "hidden", "scores"]);
    let weights: Vec<usize> = s.layers.iter().map(|l| l.weights).collect();
    assert_eq!(weights, [54, 324, 54, 672, 70]);
    let sites: Vec<usize> = s.layers.iter().map(|l| l.site).collect();
    assert_eq!(sites, [0, 1, 1, 2, 3], "both branches read the pool");
    let fixed: Vec<bool> = s.sites.iter().map(|s| s.fixed).collect();
    assert_eq!(fixed, [true, false, false, true]);
    let elements: Vec<usize> = s.sites.iter().map(|s| s.elements).collect();
    assert_eq!(elements, [64, 96, 96, 7]);
}

#[test]
fn averages_weigh_by_size_and_leave_fixed_layers_out() {
    let s = space(SpaceOptions::default());
    let mut c = s.uniform(2, 4, Format::DEFAULT);
    c.layers[3].weight_bits = 3;
    let a = s.average_bits(&c);
    assert_eq!(a.weights, Some((2 * 378 + 3 * 672) as f64 / 1050.0));
    assert_eq!(a.activations, Some(4.0));
    let all = (8 * (54 + 70) + 2 * 378 + 3 * 672) as f64 / 1174.0;
    assert_eq!(a.effective_weights, all);
}

/// Against what the writer of artifacts stores.
#[test]
fn bytes_are_those_of_the_artifact() {
    let net = network(NET, 1);
    let calib = Samples::synthetic(net.graph(), 8, 1, 0.0, 1.0);
    let s = Space::new(&net, &SpaceOptions::default()).expect("space");
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for backend in [Backend::Dsp, Backend::Portable] {
        for _ in 0..6 {
            let config = s.random(&mut rng, None);
            let format = |c: &elastiq_quant::compress::eqnet::LayerConfig| WeightFormat {
                bits: c.weight_bits,
                asymmetric: !c.weight_symmetric,
                per_tensor: !c.per_channel,
                ..WeightFormat::default()
            };
            let by_layer = config.layers.iter().map(|c| (c.layer.clone(), format(c)));
            let options = CompileOptions {
                weights: Formats {
                    by_layer: by_layer.collect(),
                    ..Formats::default()
                },
                backend,
                dead_channels: false,
                ..CompileOptions::default()
            };
            let made = compile_graph(
                net.graph().clone(),
                "net",
                &calib,
                &options,
                &mut |_, _, _| {},
            )
            .expect("artifact");
            let stored: usize = made.report.layers.iter().map(|l| l.weights_bytes).sum();
            assert_eq!(s.weight_bytes(&config, backend), stored, "{config:?}");
        }
    }
}

#[test]
fn random_configurations_are_of_the_space_and_cover_it() {
    let s = space(SpaceOptions {
        bits: vec![2, 5],
        ..SpaceOptions::default()
    });
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let drawn: Vec<SubnetConfig> = (0..200).map(|_| s.random(&mut rng, None)).collect();
    drawn.iter().for_each(|c| s.check(c).expect("of the space"));
    for i in 1..4 {
        let of = |f: fn(&elastiq_quant::compress::eqnet::LayerConfig) -> u8| {
            let mut found: Vec<u8> = drawn.iter().map(|c| f(&c.layers[i])).collect();
            found.sort_unstable();
            found.dedup();
            found
        };
        assert_eq!(of(|c| c.weight_bits), [2, 5]);
        assert_eq!(of(|c| c.activation_bits), [2, 5]);
        assert_eq!(of(|c| u8::from(c.per_channel)), [0, 1]);
        assert_eq!(of(|c| u8::from(c.weight_symmetric)), [0, 1]);
        assert_eq!(of(|c| u8::from(c.activation_symmetric)), [0, 1]);
    }
    assert!(
        drawn
            .iter()
            .all(|c| c.layers[0].weight_bits == 8 && c.layers[4].weight_bits == 8)
    );
    let low = s.random(&mut rng, Some(2));
    assert!(
        low.layers[1..4]
            .iter()
            .all(|c| c.weight_bits == 2 && c.activation_bits == 2)
    );
    s.check(&low).expect("of the space");
}

#[test]
fn configurations_survive_json_and_wrong_ones_are_named() {
    let s = space(SpaceOptions::default());
    let config = s.random(&mut ChaCha8Rng::seed_from_u64(3), None);
    let text = serde_json::to_string(&config).expect("json");
    let back: SubnetConfig = serde_json::from_str(&text).expect("configuration");
    assert_eq!(back, config);
    let refused = |options: SpaceOptions, change: &dyn Fn(&mut SubnetConfig)| {
        let mut c = config.clone();
        change(&mut c);
        space(options).check(&c).expect_err("refused").to_string()
    };
    let all = SpaceOptions::default;
    assert_eq!(
        refused(all(), &|c| c.layers[0].weight_bits = 4),
        "configuration: `first`: weights of 4 bits are none of [8]"
    );
    let split = refused(all(), &|c| {
        let bits = &mut c.layers[2].activation_bits;
        *bits = if *bits == 8 { 7 } else { *bits + 1 };
    });
    assert!(
        split.contains("`right`: reads") && split.contains("another format"),
        "{split}"
    );
    let missing = refused(all(), &|c| drop(c.layers.remove(3)));
    assert_eq!(missing, "configuration: layer `hidden` is missing");
    assert!(
        refused(all(), &|c| c.layers.swap(1, 3)).contains("`left`: `hidden` stands in its place")
    );
    let nested = SpaceOptions {
        nested: true,
        ..all()
    };
    let text = refused(nested.clone(), &|c| c.layers[1].per_channel = false);
    assert!(text.contains("nested weights are symmetric"), "{text}");
    assert_eq!(space(nested).formats().count(), 2);
    let bad = SpaceOptions {
        bits: vec![4, 9],
        ..all()
    };
    let text = Space::new(&network(NET, 1), &bad)
        .expect_err("refused")
        .to_string();
    assert_eq!(text, "[4, 9] are not ascending widths of 2 to 8 bits");
}

#[test]
fn formats_have_names() {
    let names: Vec<String> = Format::all().map(|f| f.to_string()).collect();
    assert_eq!(names[0], "channel,sym,sym");
    assert_eq!(
        names
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        8
    );
    for (f, name) in Format::all().zip(&names) {
        assert_eq!(name.parse(), Ok(f));
    }
    assert!("channel,sym".parse::<Format>().is_err());
}
