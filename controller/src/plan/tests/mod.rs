//! The conformance tables of the controller, in words.

mod adoption;
mod event;
mod pool_edit;
mod request;
mod sharing;
mod world;
