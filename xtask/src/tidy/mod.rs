//! Rules of style that a program can judge.

mod c;
mod comments;
mod crates;
mod fuzz;
mod length;
mod markdown;
mod purity;
mod text;

use crate::exceptions::Exceptions;
use crate::{Check, Finding, Tree};

/// All rules of style.
pub const CHECKS: &[Check] = &[
    Check { name: "exceptions_are_needed", run: exceptions_are_needed },
    Check { name: "files_are_short", run: length::files_are_short },
    Check { name: "functions_are_short", run: length::functions_are_short },
    Check { name: "lines_fit", run: text::lines_fit },
    Check { name: "lines_end_clean", run: text::lines_end_clean },
    Check { name: "no_path_of_a_machine", run: text::no_path_of_a_machine },
    Check { name: "nothing_is_left_for_later", run: comments::nothing_is_left_for_later },
    Check { name: "every_file_tells_what_it_is", run: comments::every_file_tells_what_it_is },
    Check { name: "no_test_is_ignored", run: comments::no_test_is_ignored },
    Check { name: "pure_crates_are_pure", run: purity::pure_crates_are_pure },
    Check { name: "crates_take_the_workspaces_lints", run: crates::crates_take_the_workspaces_lints },
    Check { name: "unsafe_stands_where_it_is_listed", run: crates::unsafe_stands_where_it_is_listed },
    Check { name: "cores_have_the_same_inside", run: crates::cores_have_the_same_inside },
    Check { name: "links_lead_somewhere", run: markdown::links_lead_somewhere },
    Check { name: "every_page_is_linked", run: markdown::every_page_is_linked },
    Check { name: "tests_that_pages_name_exist", run: markdown::tests_that_pages_name_exist },
    Check { name: "c_files_name_their_licence", run: c::c_files_name_their_licence },
    Check { name: "every_drop_is_explained", run: c::every_drop_is_explained },
    Check { name: "fuzz_targets_have_a_corpus", run: fuzz::fuzz_targets_have_a_corpus },
];

/// The list of exceptions can be read, and each names something that is there, with a reason.
pub fn exceptions_are_needed(tree: &Tree) -> Vec<Finding> {
    Exceptions::faults(tree)
}

/// Runs a check on made-up files and returns the findings as "path:line".
#[cfg(test)]
fn places(check: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)]) -> Vec<String> {
    check(&Tree::of(files)).into_iter().map(|finding| format!("{}:{}", finding.path, finding.line)).collect()
}
