//! The caller's side: a proxy with the methods of the runtime, and a builder for each that has defaults.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::Ident;
use syn::ext::IdentExt;
use syn::spanned::Spanned;

use crate::service::{Argument, Method, Service};

/// The proxy's type, with its methods and their builders.
pub(crate) fn proxy(service: &Service) -> TokenStream {
    let proxy = format_ident!("{}Proxy", service.name.unraw());
    let summary = format!("Calls the methods of a `{}` that may be elsewhere.", service.name.unraw());
    let methods = service.methods.iter().map(|method| proxy_method(service, method));
    let with_defaults = service.methods.iter().filter(|method| has_defaults(method));
    let builders = with_defaults.map(|method| builder(service, method));
    let allowed = allowed();
    quote! {
        #[doc = #summary]
        #[derive(Clone, Debug)]
        #allowed
        pub struct #proxy {
            callee: ::mosaic_comms::__generated::Callee,
        }

        #allowed
        impl #proxy {
            /// Of the runtime `uid`, which is called through `comms`. Nothing is sent yet.
            pub fn new(comms: &::mosaic_comms::CommsManager, uid: impl ::core::convert::AsRef<str>) -> Self {
                let object = ::core::option::Option::None;
                Self { callee: ::mosaic_comms::__generated::Callee::new(comms, uid.as_ref(), object) }
            }

            /// Of an object in the runtime `uid`, which is called through `comms`. Nothing is sent yet.
            pub fn of_object(
                comms: &::mosaic_comms::CommsManager,
                uid: impl ::core::convert::AsRef<str>,
                object: ::mosaic_comms::ObjectRef,
            ) -> Self {
                let object = ::core::option::Option::Some(object);
                Self { callee: ::mosaic_comms::__generated::Callee::new(comms, uid.as_ref(), object) }
            }

            #(#methods)*
        }

        #(#builders)*
    }
}

/// The impl block doesn't say who may see the type; and few callers use every method.
fn allowed() -> TokenStream {
    quote!(#[allow(dead_code, unreachable_pub, private_interfaces, clippy::all)])
}

fn has_defaults(method: &Method) -> bool {
    method.arguments().any(|argument| argument.default.is_some())
}

fn builder_name(service: &Service, method: &Method) -> Ident {
    let words = method.name.split('_').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_uppercase().collect::<String>());
        first.unwrap_or_default() + letters.as_str()
    });
    format_ident!("{}{}Call", service.name.unraw(), words.collect::<String>(), span = method.ident.span())
}

/// A method of the proxy.
fn proxy_method(service: &Service, method: &Method) -> TokenStream {
    let Method { ident, name, docs, conditions, result, .. } = method;
    let required = || method.arguments().filter(|argument| argument.default.is_none());
    let parameters = required().map(|Argument { ident, ty, .. }| quote!(#ident: #ty));
    let added =
        required().map(|Argument { ident, name, ty, .. }| quote_spanned!(ty.span()=> .with(#name, #ident)));
    let args = quote!(::mosaic_comms::Kwargs::new() #(#added)*);
    let docs = match docs.as_slice() {
        [] => {
            let summary = format!("Calls `{name}`.");
            quote!(#[doc = #summary])
        }
        docs => quote!(#(#docs)*),
    };
    let (output, body) = if has_defaults(method) {
        let builder = builder_name(service, method);
        let defaulted = method.arguments().filter(|argument| argument.default.is_some()).map(field);
        let body = quote! {
            #builder {
                callee: ::core::clone::Clone::clone(&self.callee),
                required: #args,
                deadline: ::core::option::Option::None,
                express: false,
                #(#defaulted: ::core::option::Option::None,)*
            }
        };
        (quote!(#builder), body)
    } else {
        (quote!(::mosaic_comms::SendRecv<#result>), quote!(self.callee.call(#name, #args)))
    };
    quote! {
        #(#conditions)*
        #docs
        pub fn #ident(&self, #(#parameters),*) -> #output { #body }
    }
}

fn field(argument: &Argument) -> Ident {
    format_ident!("argument_{}", argument.name)
}

/// The type that a proxy's method with defaults returns.
fn builder(service: &Service, method: &Method) -> TokenStream {
    let Method { name, conditions, result, .. } = method;
    let builder = builder_name(service, method);
    let summary =
        format!("A call of `{name}`. Awaiting it makes the call, dropping it meanwhile cancels it.");
    let defaulted = || method.arguments().filter(|argument| argument.default.is_some());
    let fields = defaulted().map(|argument| {
        let (field, ty) = (field(argument), &argument.ty);
        quote!(#field: ::core::option::Option<#ty>)
    });
    let (setters, sent) = (defaulted().map(setter), send_recv(method));
    let (allowed, options) = (allowed(), options(result));
    quote! {
        #(#conditions)*
        #[doc = #summary]
        #[must_use = "nothing is sent until it is awaited"]
        #allowed
        pub struct #builder {
            callee: ::mosaic_comms::__generated::Callee,
            required: ::mosaic_comms::Kwargs,
            deadline: ::core::option::Option<::core::time::Duration>,
            express: bool,
            #(#fields,)*
        }

        #(#conditions)*
        #allowed
        impl #builder {
            #(#setters)*

            #options

            #sent
        }

        #(#conditions)*
        impl ::core::future::IntoFuture for #builder {
            type Output = ::core::result::Result<#result, ::mosaic_comms::CallError>;
            type IntoFuture = <::mosaic_comms::SendRecv<#result> as ::core::future::IntoFuture>::IntoFuture;

            fn into_future(self) -> Self::IntoFuture {
                ::core::future::IntoFuture::into_future(self.send_recv())
            }
        }
    }
}

/// How the call is made: the methods that every builder has.
fn options(result: &TokenStream) -> TokenStream {
    quote! {
        /// Gives up after this long.
        pub fn deadline(mut self, limit: ::core::time::Duration) -> Self {
            self.deadline = ::core::option::Option::Some(limit);
            self
        }

        /// Takes the control lane, past whatever waits. For messages of at most 64 KiB.
        pub fn express(mut self) -> Self {
            self.express = true;
            self
        }

        /// The same one way: whatever the method returns is dropped where it was made.
        pub fn send(self) -> ::mosaic_comms::SendMessage {
            self.send_recv().send()
        }

        /// Sends the same one way if there is room for it now.
        pub fn try_send(self) -> ::core::result::Result<(), ::mosaic_comms::TrySendError> {
            self.send_recv().try_send()
        }

        /// The same call to each of `uids` in place of the one that it was made for.
        pub fn to_all(
            self,
            uids: impl ::core::iter::IntoIterator<
                Item = impl ::core::borrow::Borrow<::mosaic_comms::Uid>,
            >,
        ) -> ::core::result::Result<::mosaic_comms::SendRecvAll<#result>, ::mosaic_comms::EncodeError> {
            self.send_recv().to_all(uids)
        }

        /// Makes the call and waits, on a thread that may block.
        #[track_caller]
        pub fn blocking_wait(self) -> ::core::result::Result<#result, ::mosaic_comms::CallError> {
            self.send_recv().blocking_wait()
        }
    }
}

fn setter(argument: &Argument) -> TokenStream {
    let (ident, ty, field, default) = (&argument.ident, &argument.ty, field(argument), &argument.default);
    let summary = format!("Gives `{}`, which is `{}` otherwise.", argument.name, quote!(#default));
    quote! {
        #[doc = #summary]
        pub fn #ident(mut self, #ident: #ty) -> Self {
            self.#field = ::core::option::Option::Some(#ident);
            self
        }
    }
}

/// Puts the call together.
fn send_recv(method: &Method) -> TokenStream {
    let Method { name, result, .. } = method;
    let added = method.arguments().filter(|argument| argument.default.is_some()).map(|argument| {
        let (field, name) = (field(argument), &argument.name);
        quote! {
            if let ::core::option::Option::Some(value) = self.#field {
                args = args.with(#name, value);
            }
        }
    });
    quote! {
        fn send_recv(self) -> ::mosaic_comms::SendRecv<#result> {
            let mut args = self.required;
            #(#added)*
            let mut call = self.callee.call(#name, args);
            if let ::core::option::Option::Some(limit) = self.deadline {
                call = call.deadline(limit);
            }
            if self.express { call.express() } else { call }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_and_own_type_are_carried_over() {
        let block = "impl Solver {
            /// Solves it.
            pub fn solve(&self, other: Vec<Self>) -> Result<Self, Error> {}
            pub fn undocumented(&self) {}
        }";
        let service = Service::read(&mut syn::parse_str(block).unwrap()).ok().unwrap();
        let written = proxy(&service).to_string();
        let solve = quote! {
            #[doc = " Solves it."]
            pub fn solve(&self, other: Vec<Solver>) -> ::mosaic_comms::SendRecv<Solver>
        };
        assert!(written.contains(&solve.to_string()), "{written}");
        assert!(written.contains("Calls `undocumented`."), "{written}");
    }
}
