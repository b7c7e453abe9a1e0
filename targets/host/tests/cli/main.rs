//! The program as a user meets it: exit codes, one-line errors, files left behind, JSON.

mod common;
mod nupes;
mod refusals;
mod report;
mod results;
mod search;
mod supernet;
mod training;
