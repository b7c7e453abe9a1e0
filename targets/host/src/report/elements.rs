//! Elements of the page: tags with escaped text, the same for HTML and for drawings.

use svg::node::Node;
use svg::node::element::Element;

/// An element with attributes.
pub fn tag(name: &str, attributes: &[(&str, &str)]) -> Element {
    let mut element = Element::new(name);
    for &(key, value) in attributes {
        element.assign(key, value);
    }
    element
}

/// The element with children behind those it has.
pub fn with(mut element: Element, children: impl IntoIterator<Item = Element>) -> Element {
    children.into_iter().for_each(|child| element.append(child));
    element
}

/// An element that holds text alone.
pub fn text(name: &str, attributes: &[(&str, &str)], text: impl Into<String>) -> Element {
    let mut element = tag(name, attributes);
    element.append(svg::node::Text::new(text));
    element
}

/// A table; columns listed in `left` hold words, the others numbers.
pub fn table(caption: &str, header: &[&str], left: &[usize], rows: &[Vec<String>]) -> Element {
    let side = |i: usize| if left.contains(&i) { "word" } else { "number" };
    let row = |name: &'static str, cells: &[String]| {
        let cell = |(i, c): (usize, &String)| text(name, &[("class", side(i))], c.clone());
        with(tag("tr", &[]), cells.iter().enumerate().map(cell))
    };
    let names: Vec<String> = header.iter().map(|h| h.to_string()).collect();
    let head = with(tag("thead", &[]), [row("th", &names)]);
    let body = with(tag("tbody", &[]), rows.iter().map(|cells| row("td", cells)));
    let caption = text("caption", &[], caption);
    let table = with(tag("table", &[]), [caption, head, body]);
    // Wide tables scroll on their own, the page does not.
    with(tag("div", &[("class", "wide")]), [table])
}

/// A drawing with a caption.
pub fn figure(drawing: Element, caption: &str) -> Element {
    with(
        tag("figure", &[]),
        [drawing, text("figcaption", &[], caption)],
    )
}
