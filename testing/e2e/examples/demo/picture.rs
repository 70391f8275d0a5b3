//! Hosts and their containers, drawn.

/// Inner width of a host's box, characters.
const WIDTH: usize = 24;

/// Draws hosts side by side on one switch; each has a title and lines inside.
///
/// ```text
///  ┌ h1 ──────────────────────┐  ┌ h2 ──────────────────────┐
///  │ redis  10.128.0.5        │  │ postgres  10.128.64.3    │
///  └────────────┬─────────────┘  └────────────┬─────────────┘
///               └─────────────────────────────┴─── underlay 172.31.0.0/24
/// ```
pub(crate) fn hosts(hosts: &[(String, Vec<String>)], underlay: &str) -> String {
    let height = hosts.iter().map(|(_, lines)| lines.len()).max().unwrap_or(0);
    let mut rows = vec![join(
        hosts.iter().map(|(title, _)| format!("┌ {title} {}┐", "─".repeat(WIDTH - title.chars().count()))),
    )];
    for row in 0..height {
        rows.push(join(hosts.iter().map(|(_, lines)| {
            let text = lines.get(row).map_or("", String::as_str);
            format!("│ {}│", fit(text, WIDTH + 1))
        })));
    }
    let half = WIDTH / 2 + 1;
    rows.push(join(hosts.iter().map(|_| format!("└{}┬{}┘", "─".repeat(half), "─".repeat(WIDTH + 1 - half)))));
    rows.push(wire(hosts.len(), half, underlay));
    rows.join("\n")
}

fn wire(count: usize, half: usize, underlay: &str) -> String {
    let gap = "─".repeat(WIDTH + 5);
    let joints = (0..count).map(|at| if at == 0 { "└".to_owned() } else { format!("{gap}┴") });
    format!("  {}{}─── {underlay}", " ".repeat(half + 1), joints.collect::<String>())
}

fn join(boxes: impl Iterator<Item = String>) -> String {
    format!("  {}", boxes.collect::<Vec<_>>().join("  "))
}

fn fit(text: &str, width: usize) -> String {
    let cut: String = text.chars().take(width).collect();
    let rest = width - cut.chars().count();
    cut + &" ".repeat(rest)
}
