//! The runtime's side: from a method's name and arguments to the method, and back with its result.
//!
//! Local names are hygienic, so that an argument may be called `args`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, Ident, Lit, Meta};

use crate::service::{Argument, Method, Parameter, Service};

/// Implements `Runtime`, or what `Exclusive` needs and `IntoRuntime`.
pub(crate) fn runtime(service: &Service) -> TokenStream {
    let ty = &service.ty;
    let methods = methods(service);
    let hooks = hooks(service);
    let arms = service.methods.iter().map(|method| arm(service, method));
    let (args, call, state) = (local("args"), local("call"), local("state"));
    let choose = quote! {
        ::core::option::Option::Some(match method {
            #(#arms)*
            _ => return ::core::option::Option::None,
        })
    };
    let rest = quote! {
        method: &str,
        #args: ::mosaic_comms::Args,
        #call: ::mosaic_comms::Call,
    };
    let handling = quote!(::core::option::Option<::mosaic_comms::Handling>);
    if service.is_exclusive() {
        quote! {
            #[automatically_derived]
            #[allow(unused_variables, clippy::all)]
            impl ::mosaic_comms::__generated::ExclusiveRuntime for #ty {
                fn dispatch(#state: &::mosaic_comms::__generated::State<Self>, #rest) -> #handling { #choose }
                fn methods() -> ::std::vec::Vec<::mosaic_comms::Method> { #methods }
                #hooks
            }

            #[automatically_derived]
            impl ::mosaic_comms::IntoRuntime for #ty {
                type Runtime = ::mosaic_comms::Exclusive<Self>;
                fn into_runtime(self) -> Self::Runtime { ::mosaic_comms::Exclusive::new(self) }
            }
        }
    } else {
        quote! {
            #[automatically_derived]
            #[allow(unused_variables, clippy::all)]
            impl ::mosaic_comms::Runtime for #ty {
                fn dispatch(self: ::std::sync::Arc<Self>, #rest) -> #handling {
                    let #state = self;
                    #choose
                }
                fn methods(&self) -> ::std::vec::Vec<::mosaic_comms::Method> { #methods }
                #hooks
            }
        }
    }
}

fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

fn methods(service: &Service) -> TokenStream {
    let described = service.methods.iter().map(|method| {
        let (conditions, description) = (&method.conditions, description(method));
        quote!(#(#conditions)* #description,)
    });
    quote!(<[_]>::into_vec(::std::boxed::Box::new([#(#described)*])))
}

/// What tools are told of a method.
fn description(method: &Method) -> TokenStream {
    let docs = method.docs.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(docs) => Some(&docs.value),
        Meta::Path(_) | Meta::List(_) => None,
    });
    let arguments = method.arguments().map(|Argument { name, default, .. }| match default {
        None => quote!(::mosaic_comms::Argument::required(#name)),
        Some(default) => {
            let default = default.to_token_stream().to_string();
            quote!(::mosaic_comms::Argument::optional(#name, #default))
        }
    });
    let name = &method.name;
    quote! {
        ::mosaic_comms::Method::new(#name).with_docs(&[#(#docs),*]).with_arguments([#(#arguments),*])
    }
}

fn hooks(service: &Service) -> TokenStream {
    let hooks = service.hooks.iter().map(|hook| {
        if hook == "connected" {
            quote! { fn connected(&self, peer: &::mosaic_comms::Uid) { Self::connected(self, peer) } }
        } else {
            quote! {
                fn disconnected(&self, peer: &::mosaic_comms::Uid, reason: &::mosaic_comms::Reason) {
                    Self::disconnected(self, peer, reason)
                }
            }
        }
    });
    quote!(#(#hooks)*)
}

/// One method's arm of the match.
fn arm(service: &Service, method: &Method) -> TokenStream {
    let Method { name, conditions, .. } = method;
    let body = if service.is_exclusive() { in_turn(method) } else { at_once(method) };
    quote!(#(#conditions)* #name => { #body })
}

fn at_once(method: &Method) -> TokenStream {
    let state = local("state");
    let (arguments, outcome, reply) = (arguments(method), outcome(method, &quote!(&#state)), reply(method));
    let body = quote! { #arguments #outcome #reply };
    if method.is_async {
        quote!(::mosaic_comms::Handling::Future(::std::boxed::Box::pin(async move { #body })))
    } else {
        quote!(::mosaic_comms::Handling::Compute(::std::boxed::Box::new(move || { #body })))
    }
}

fn in_turn(method: &Method) -> TokenStream {
    let state = local("state");
    let (turn, have, access) = match method.exclusive {
        true => (quote!(exclusive), quote!(mut #state), quote!(&mut #state)),
        false => (quote!(shared), quote!(#state), quote!(&#state)),
    };
    let (arguments, outcome, reply) = (arguments(method), outcome(method, &access), reply(method));
    // Whoever waits for the state need not wait for the encoding of the result.
    let leave = quote!(::core::mem::drop(#state););
    let handling = if method.is_async {
        quote! {
            ::mosaic_comms::Handling::Future(::std::boxed::Box::pin(async move {
                #arguments
                let #have = #state.await;
                #outcome
                #leave
                #reply
            }))
        }
    } else {
        quote! {
            ::mosaic_comms::Handling::Turn(::std::boxed::Box::pin(async move {
                let #have = #state.await;
                ::std::boxed::Box::new(move || {
                    #arguments
                    #outcome
                    #leave
                    #reply
                }) as ::mosaic_comms::Computation
            }))
        }
    };
    quote! {
        let #state = #state.#turn();
        #handling
    }
}

/// Decodes the arguments into variables of their names.
fn arguments(method: &Method) -> TokenStream {
    let args = local("args");
    let names = method.arguments().map(|argument| &argument.name);
    let decoded = method.arguments().map(|Argument { ident, name, ty, default }| match default {
        None => quote_spanned!(ty.span()=> let #ident: #ty = #args.get(#name)?;),
        Some(default) => quote_spanned! {ty.span()=>
            let #ident: #ty = ::mosaic_comms::__generated::argument_or(&#args, #name, || #default)?;
        },
    });
    quote! {
        #args.expect_only(&[#(#names),*])?;
        #(#decoded)*
        ::core::mem::drop(#args);
    }
}

/// Runs the method.
fn outcome(method: &Method, state: &TokenStream) -> TokenStream {
    let (call, outcome, ident) = (local("call"), local("outcome"), &method.ident);
    let values = method.parameters.iter().map(|parameter| match parameter {
        Parameter::Call => quote!(&#call),
        Parameter::Argument(argument) => {
            let ident = &argument.ident;
            quote!(#ident)
        }
    });
    let wait = method.is_async.then(|| quote!(.await));
    quote!(let #outcome = Self::#ident(#state, #(#values),*) #wait;)
}

/// Makes the reply of what the method came to.
fn reply(method: &Method) -> TokenStream {
    let (outcome, value, error) = (local("outcome"), local("value"), local("error"));
    let finished = quote_spanned!(method.result.span()=> ::mosaic_comms::__generated::finished);
    if !method.fallible {
        return quote!(#finished(#outcome));
    }
    let failure = local("failure");
    let sent = quote_spanned!(method.ident.span()=> (&mut #failure).handler_error());
    let sent = match &method.kind {
        None => sent,
        Some(kind) => {
            let kind = kind_of(kind, &quote!(#failure.error()));
            quote! {{
                let kind = ::std::string::String::from(#kind);
                ::mosaic_comms::__generated::of_kind(#sent, kind)
            }}
        }
    };
    quote! {
        match #outcome {
            ::core::result::Result::Ok(#value) => #finished(#value),
            ::core::result::Result::Err(#error) => {
                #[allow(unused_imports)]
                use ::mosaic_comms::__generated::{ByItself as _, ByNothing as _, ByText as _};
                let mut #failure = ::mosaic_comms::__generated::Failure::new(#error);
                ::core::result::Result::Err(#sent)
            }
        }
    }
}

fn kind_of(kind: &Expr, error: &TokenStream) -> TokenStream {
    match kind {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => quote!(#text),
        function => quote!((#function)(#error)),
    }
}
