//! The attribute `runtime` of Mosaic comms, which is documented where it is used: `mosaic_comms::runtime`.
//!
//! Three steps, a file each: `service.rs` reads an impl block, with `types.rs`; `dispatch.rs` writes the runtime's side,
//! `proxy.rs` the caller's. What the code that is written needs beyond that is in the library, not in it.

#![forbid(unsafe_code)]

mod dispatch;
mod proxy;
mod service;
mod types;

use proc_macro::TokenStream;
use quote::quote;
use syn::{Error, ItemImpl, parse_macro_input, parse_quote};

use crate::service::Service;

/// Makes the `pub` methods of a type callable from elsewhere, and a typed proxy to call them with.
#[proc_macro_attribute]
pub fn runtime(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = proc_macro2::TokenStream::from(options);
    let mut block = parse_macro_input!(item as ItemImpl);
    let made = match options.is_empty() {
        true => Service::read(&mut block).map(|service| {
            let (runtime, proxy) = (dispatch::runtime(&service), proxy::proxy(&service));
            quote!(#runtime #proxy)
        }),
        false => Err(Error::new_spanned(options, "this attribute has no options")),
    };
    block.attrs.push(
        parse_quote!(#[allow(unreachable_pub, reason = "`pub` says here what is called from elsewhere")]),
    );
    let made = made.unwrap_or_else(Error::into_compile_error);
    quote!(#block #made).into()
}
