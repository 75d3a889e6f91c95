//! tests

pub mod attacks;
pub mod capture_file;
pub mod counterexample;
pub mod demo;
pub mod frame;
pub mod fuzzing;
pub mod generate;
pub mod guest;
pub mod host;
pub mod inventory;
pub mod lab;
pub mod leak;
pub mod oracle;
pub mod pe;
pub mod product;
pub mod tracer;
