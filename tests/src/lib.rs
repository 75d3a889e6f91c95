//! tests

pub mod attacks;
pub mod capture_file;
pub mod demo;
pub mod frame;
pub mod generate;
pub mod lab;
pub mod leak;
pub mod oracle;
pub mod product;
