//! What the guest says, line by line.

use std::time::Duration;

use crate::kernel::Kernel;

/// What a kernel's own lines must not say.
const COMPLAINTS: [&str; 6] =
    ["BUG:", "WARNING:", "Oops", "Kernel panic", "unregister_netdevice: waiting", "general protection fault"];

/// The tests of one kernel.
#[derive(Default)]
pub(crate) struct Report {
    kernel: String,
    /// Binary that is running.
    label: String,
    passed: usize,
    failed: Vec<String>,
    complaints: Vec<String>,
    /// The guest got to its end.
    is_done: bool,
}

impl Report {
    pub(crate) fn new(kernel: &Kernel) -> Self {
        Self { kernel: kernel.version.clone(), ..Self::default() }
    }

    /// Takes a line and prints what a person wants of it.
    pub(crate) fn read(&mut self, line: &str) {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("@end"), Some(label), Some("0" | "101")) => {
                println!("        {} {label} ended at {} s", self.kernel, words.next().unwrap_or("?"));
            }
            (Some("@kernel"), Some(version), Some(seconds)) => {
                println!("kernel {version}, up after {seconds} s");
                if version != self.kernel {
                    self.failed.push(format!("another kernel than {} came up", self.kernel));
                }
            }
            (Some("@begin"), Some(label), None) => label.clone_into(&mut self.label),
            // A test binary that ends by a signal names no test.
            (Some("@end"), Some(label), Some(code)) => {
                self.failed.push(format!("{label} ended with code {code}"));
            }
            (Some("@done"), None, None) => self.is_done = true,
            _ => self.read_of_test(line),
        }
    }

    /// Lines of Rust's test runner; what a failed test has said is shown as it is.
    fn read_of_test(&mut self, line: &str) {
        let Some((name, verdict)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        else {
            let is_chatter =
                ["running ", "test result: ", "failures:"].iter().any(|start| line.starts_with(start));
            if !line.is_empty() && !is_chatter {
                println!("    {} {line}", self.kernel);
            }
            return;
        };
        println!("{:>6}  {} {} {name}", verdict, self.kernel, self.label);
        if verdict == "ok" {
            self.passed += 1;
        } else {
            self.failed.push(format!("{} {name}", self.label));
        }
    }

    /// Looks for complaints of the kernel.
    pub(crate) fn read_console(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let complains = |line: &&str| COMPLAINTS.iter().any(|complaint| line.contains(complaint));
        self.complaints.extend(text.lines().filter(complains).map(str::to_owned));
        if !self.is_done {
            self.complaints.extend(text.lines().rev().take(5).map(str::to_owned));
        }
    }

    /// Whether there were tests, all passed, and the kernel had nothing to say of them.
    pub(crate) fn has_passed(&self) -> bool {
        self.is_done && self.passed > 0 && self.failed.is_empty() && self.complaints.is_empty()
    }

    pub(crate) fn summary(&self, version: &str, took: Duration) -> String {
        let mut text = format!(
            "kernel {version}: {} passed, {} failed, {} s",
            self.passed,
            self.failed.len(),
            took.as_secs()
        );
        if !self.is_done {
            text += "\n  it did not come to its end";
        }
        for failed in &self.failed {
            text += &format!("\n  failed: {failed}");
        }
        for complaint in &self.complaints {
            text += &format!("\n  the kernel says: {complaint}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &[&str], console: &str) -> Report {
        let mut report = Report { kernel: "6.1".into(), ..Report::default() };
        lines.iter().for_each(|line| report.read(line));
        report.read_console(console.as_bytes());
        report
    }

    const GOOD: [&str; 5] = ["@kernel 6.1 3.2", "@begin a::b", "test one ... ok", "@end a::b 0 4.0", "@done"];

    #[test]
    fn a_run_passes_only_with_tests_an_end_and_a_silent_kernel() {
        assert!(report(&GOOD, "").has_passed());
        assert!(!report(&GOOD[..4], "").has_passed(), "no end");
        assert!(!report(&["@kernel 6.1 3.2", "@done"], "").has_passed(), "no test");
        assert!(!report(&GOOD, "[1.0] WARNING: CPU: 0").has_passed(), "a complaint");
        assert!(!report(&["@kernel 6.2 3.2", "test one ... ok", "@done"], "").has_passed(), "another kernel");
        for line in ["test two ... FAILED", "@end a::b 139 4.0"] {
            let lines: Vec<_> = GOOD.iter().copied().chain([line]).collect();
            assert!(!report(&lines, "").has_passed(), "{line}");
        }
    }
}
