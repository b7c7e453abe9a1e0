//! Several widths of a nested supernet in one artifact.

use super::common::{CNN, digits, network, short, supernet, trained};
use elastiq::{Engine, OpSet};
use elastiq_quant::compile::CompileOptions;
use elastiq_quant::compress::eqnet::{Format, SpaceOptions, SubnetConfig, Supernet};
use elastiq_quant::io::Ports;

#[test]
fn every_width_gives_the_bytes_of_its_own_artifact() {
    let options = short(SpaceOptions {
        nested: true,
        ..SpaceOptions::default()
    });
    let net = supernet(&trained(CNN), &options).supernet;
    let (calib, samples) = (digits(0, 100), digits(800, 840));
    let opts = CompileOptions::default();
    let mut points: Vec<(String, SubnetConfig)> = [8, 4, 3, 2]
        .map(|b| (b.to_string(), net.space().uniform(b, b, Format::DEFAULT)))
        .into();
    // And one of mixed widths.
    let mut mixed = points[1].1.clone();
    mixed.layers[1].weight_bits = 6;
    mixed.layers[2].weight_bits = 3;
    points.push(("mixed".into(), mixed));
    let all = net
        .export_variants(&points, "net", &calib, &opts, &mut |_, _, _| {})
        .expect("artifact");
    let mut several = Engine::<{ OpSet::ALL }>::new(&all.bytes).expect("engine");
    assert_eq!(several.variants(), 5);
    let mut sizes = Vec::new();
    let mut differing = 0;
    for (i, (name, config)) in points.iter().enumerate() {
        assert_eq!(several.variant_name(i), Some(name.as_str()));
        several.select(i).expect("variant");
        let alone = net
            .export(config, "net", &calib, &opts, &mut |_, _, _| {})
            .expect("artifact");
        sizes.push(alone.bytes.len());
        let single = Engine::<{ OpSet::ALL }>::new(&alone.bytes).expect("engine");
        let run = |engine: &Engine<{ OpSet::ALL }>, at: usize| -> Vec<u8> {
            let ports = Ports::of(engine.model()).expect("ports");
            let mut arena = vec![0; engine.model().arena_len()];
            let mut session = engine.start(&mut arena).expect("session");
            let item = samples.file_item(&alone.graph, at);
            ports.feed(&mut session, &item).expect("input");
            session.finish().expect("run");
            session.output(0).expect("output").to_vec()
        };
        for at in 0..samples.len() {
            let chosen = run(&several, at);
            assert!(chosen == run(&single, at), "variant {name}, sample {at}");
            differing += usize::from(i > 0 && chosen != run(&several_first(&all.bytes), at));
        }
    }
    assert!(differing > 50, "{differing}: variants are not all the same");
    let sum: usize = sizes.iter().sum();
    assert!(
        all.bytes.len() < sum / 2,
        "{} bytes, {sum} apart",
        all.bytes.len()
    );
}

/// The first variant of an artifact.
fn several_first(bytes: &[u8]) -> Engine<'_, { OpSet::ALL }> {
    Engine::new(bytes).expect("engine")
}

#[test]
fn what_cannot_share_weights_is_refused() {
    let calib = digits(0, 16);
    let refused = |options: &SpaceOptions| {
        let net = Supernet::untrained(&network(CNN, 1), options, &calib).expect("supernet");
        let points = [8, 2].map(|b| (b.to_string(), net.space().uniform(b, b, Format::DEFAULT)));
        let opts = CompileOptions::default();
        let failed = net.export_variants(&points, "net", &calib, &opts, &mut |_, _, _| {});
        failed.expect_err("refused").to_string()
    };
    let plain = SpaceOptions::default();
    assert!(refused(&plain).contains("needs a supernet that was trained nested"));
    let normalized = SpaceOptions {
        nested: true,
        batch_norm: vec!["first".into()],
        ..plain
    };
    assert!(refused(&normalized).contains("biases of their own at every width"));
}
