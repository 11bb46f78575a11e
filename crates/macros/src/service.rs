//! What an impl block says about a runtime: its methods and hooks. Reading it takes the attributes out that are meant
//! for us, and refuses what can't be called from elsewhere, everything at once and each where it stands.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{
    Attribute, Error, Expr, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, Pat, PathArguments, Receiver,
    ReturnType, Signature, Token, Type, Visibility,
};

use crate::types::{concrete, fallible, is_call, owned};

/// Messages that never reach a runtime's methods, since the protocol takes them: the library's `is_protocol`, and `stop`.
const PROTOCOL: &[&str] =
    &["stop", "hand", "shake", "connect", "disconnect", "news", "who", "raise_exception"];

/// What a builder has besides the setters of arguments.
const BUILDER: &[&str] = &["deadline", "express", "send", "try_send", "to_all", "blocking_wait"];

/// What makes a proxy.
const MAKERS: &[&str] = &["new", "of_object"];

/// The hooks there are.
const HOOKS: &[&str] = &["connected", "disconnected"];

/// A runtime, as its impl block describes it.
pub(crate) struct Service {
    pub(crate) ty: Type,
    pub(crate) name: Ident,
    pub(crate) methods: Vec<Method>,
    pub(crate) hooks: Vec<Ident>,
}

/// A method that others may call.
pub(crate) struct Method {
    pub(crate) ident: Ident,
    /// Its name on the wire.
    pub(crate) name: String,
    pub(crate) docs: Vec<Attribute>,
    /// Its `#[cfg(..)]`.
    pub(crate) conditions: Vec<Attribute>,
    pub(crate) exclusive: bool,
    pub(crate) is_async: bool,
    pub(crate) parameters: Vec<Parameter>,
    /// The type that its caller gets.
    pub(crate) result: TokenStream,
    pub(crate) fallible: bool,
    /// The kind of its errors: a text, or a function of the error.
    pub(crate) kind: Option<Expr>,
}

/// What a method takes.
pub(crate) enum Parameter {
    Call,
    Argument(Box<Argument>),
}

/// What comes over the wire.
pub(crate) struct Argument {
    pub(crate) ident: Ident,
    /// Its name on the wire.
    pub(crate) name: String,
    pub(crate) ty: TokenStream,
    pub(crate) default: Option<Expr>,
}

impl Method {
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &Argument> {
        self.parameters.iter().filter_map(|parameter| match parameter {
            Parameter::Call => None,
            Parameter::Argument(argument) => Some(&**argument),
        })
    }
}

impl Service {
    /// Whether its state needs a lock.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.methods.iter().any(|method| method.exclusive)
    }

    /// Reads an impl block.
    pub(crate) fn read(block: &mut ItemImpl) -> Result<Service, Error> {
        let mut refusals = Refusals::default();
        let name = refusals.note(type_of(block));
        let ty = (*block.self_ty).clone();
        let (mut methods, mut hooks) = (Vec::<Method>::new(), Vec::new());
        for item in &mut block.items {
            let ImplItem::Fn(function) = item else { continue };
            if let Some(hook) = take(&mut function.attrs, "hook") {
                hooks.extend(refusals.note(read_hook(&hook, function)));
            } else if is_remote(function)
                && let Some(method) = read_method(function, &ty, &mut refusals)
            {
                // Where each has a condition, one alone may be there; the compiler knows.
                let is_twin = |other: &Method| {
                    other.name == method.name && (other.conditions.is_empty() || method.conditions.is_empty())
                };
                if methods.iter().any(is_twin) {
                    refusals.add(&method.ident, format!("there are two methods `{}`", method.name));
                }
                methods.push(method);
            }
        }
        refusals.end()?;
        let name = name.expect("a type without a name was refused");
        Ok(Service { ty, name, methods, hooks })
    }
}

/// The name of the type that the block is about.
fn type_of(block: &ItemImpl) -> Result<Ident, Error> {
    if let Some((_, of, _)) = &block.trait_ {
        return Err(Error::new_spanned(
            of,
            "a runtime is made of a type's own methods: write `impl Type { .. }`",
        ));
    }
    let generic = "a runtime can't be generic: nobody elsewhere could choose its parameters; write the block for one \
                   concrete type, such as a wrapper of your own";
    if !block.generics.params.is_empty() {
        return Err(Error::new_spanned(&block.generics.params, generic));
    }
    let Type::Path(path) = &*block.self_ty else {
        return Err(Error::new_spanned(&block.self_ty, "a runtime is a struct or an enum of this crate"));
    };
    let last = path.path.segments.last().expect("a path has segments");
    match &last.arguments {
        PathArguments::None => Ok(last.ident.clone()),
        arguments => Err(Error::new_spanned(arguments, generic)),
    }
}

/// Associated functions and what is not `pub` are nobody else's business.
fn is_remote(function: &ImplItemFn) -> bool {
    matches!(function.vis, Visibility::Public(_)) && function.sig.receiver().is_some()
}

fn read_hook(attribute: &Attribute, function: &ImplItemFn) -> Result<Ident, Error> {
    let signature = &function.sig;
    if attribute.meta.require_path_only().is_err() {
        return Err(Error::new_spanned(attribute, "this is written `#[hook]`"));
    }
    if !HOOKS.contains(&signature.ident.to_string().as_str()) {
        let message = format!("there is no hook `{}`, only `connected` and `disconnected`", signature.ident);
        return Err(Error::new_spanned(&signature.ident, message));
    }
    if !matches!(function.vis, Visibility::Inherited) {
        return Err(Error::new_spanned(
            &function.vis,
            "a hook is not called from elsewhere: remove the `pub`",
        ));
    }
    if let Some(asynchronous) = &signature.asyncness {
        let message = "a hook is a plain `fn`: what takes time belongs into a task that it spawns";
        return Err(Error::new_spanned(asynchronous, message));
    }
    match signature.receiver() {
        Some(receiver) if receiver.reference.is_some() && receiver.mutability.is_none() => {
            Ok(signature.ident.clone())
        }
        _ => Err(Error::new_spanned(&signature.inputs, "a hook takes `&self`")),
    }
}

fn read_method(function: &mut ImplItemFn, ty: &Type, refusals: &mut Refusals) -> Option<Method> {
    let kind = take(&mut function.attrs, "error").map(|attribute| named(&attribute, "kind"));
    let kind = kind.and_then(|kind| refusals.note(kind));
    refuse_names(&function.sig, refusals);
    refuse_signature(&function.sig, refusals);
    let exclusive = refusals.note(function.sig.receiver().map_or(Ok(false), is_exclusive));
    let result = refusals.note(read_result(&function.sig));
    let mut parameters: Vec<Parameter> = Vec::new();
    for input in &mut function.sig.inputs {
        if let FnArg::Typed(input) = input
            && let Some(parameter) =
                refusals.note(read_parameter(&mut input.attrs, &input.pat, &input.ty, ty))
        {
            parameters.push(parameter);
        }
    }
    let (result, is_fallible) = result?;
    if let Some(kind) = kind.as_ref().filter(|_| !is_fallible) {
        refusals.add(kind, "this method can't fail: let it return a `Result`");
    }
    let kept = |name: &str| function.attrs.iter().filter(|one| one.path().is_ident(name)).cloned().collect();
    let method = Method {
        ident: function.sig.ident.clone(),
        name: function.sig.ident.unraw().to_string(),
        docs: kept("doc"),
        conditions: kept("cfg"),
        exclusive: exclusive?,
        is_async: function.sig.asyncness.is_some(),
        parameters,
        result: concrete(result, ty),
        fallible: is_fallible,
        kind,
    };
    refuse_twins(&method, refusals);
    Some(method)
}

fn refuse_names(signature: &Signature, refusals: &mut Refusals) {
    let name = signature.ident.unraw().to_string();
    if PROTOCOL.contains(&name.as_str()) {
        let message = format!("`{name}` is a message of the protocol itself: give the method another name");
        refusals.add(&signature.ident, message);
    }
    if MAKERS.contains(&name.as_str()) {
        let message = format!("`{name}` makes the proxy: give the method another name");
        refusals.add(&signature.ident, message);
    }
}

fn refuse_signature(signature: &Signature, refusals: &mut Refusals) {
    if !signature.generics.params.is_empty() {
        let message = "a remote method can't be generic: nobody elsewhere could choose its parameters; take concrete \
                       types, owned";
        refusals.add(&signature.generics.params, message);
    }
    if let Some(unsafety) = &signature.unsafety {
        refusals.add(unsafety, "a remote method can't be unsafe: nobody elsewhere could keep its contract");
    }
    if let Some(abi) = &signature.abi {
        refusals.add(abi, "a remote method is a Rust function: remove this");
    }
}

fn refuse_twins(method: &Method, refusals: &mut Refusals) {
    let arguments: Vec<&Argument> = method.arguments().collect();
    for (index, argument) in arguments.iter().enumerate() {
        if arguments[..index].iter().any(|other| other.name == argument.name) {
            refusals.add(&argument.ident, format!("there are two arguments `{}`", argument.name));
        }
    }
}

fn is_exclusive(receiver: &Receiver) -> Result<bool, Error> {
    match (&receiver.reference, &receiver.colon_token) {
        (Some(_), None) => Ok(receiver.mutability.is_some()),
        _ => {
            let message =
                "a call borrows the runtime, which goes on: take `&self`, or `&mut self` to have it alone";
            Err(Error::new_spanned(receiver, message))
        }
    }
}

/// The type that a caller gets, and whether the method can fail.
fn read_result(signature: &Signature) -> Result<(TokenStream, bool), Error> {
    let ReturnType::Type(_, ty) = &signature.output else { return Ok((quote::quote!(()), false)) };
    owned(ty, "a result travels", "return")?;
    Ok(match fallible(ty) {
        Some(value) => (value.to_token_stream(), true),
        None => (ty.to_token_stream(), false),
    })
}

fn read_parameter(
    attributes: &mut Vec<Attribute>,
    pattern: &Pat,
    ty: &Type,
    own: &Type,
) -> Result<Parameter, Error> {
    let attribute = take(attributes, "arg");
    if is_call(ty) {
        return match attribute {
            None => Ok(Parameter::Call),
            Some(attribute) => Err(Error::new_spanned(attribute, "the call is no argument")),
        };
    }
    let ident = match pattern {
        Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => name.ident.clone(),
        _ => {
            let message =
                "an argument's name is its name on the wire: give it one, and take it apart in the body";
            return Err(Error::new_spanned(pattern, message));
        }
    };
    owned(ty, "an argument comes from elsewhere", "take")?;
    let default = attribute.map(|attribute| named(&attribute, "default")).transpose()?;
    let name = ident.unraw().to_string();
    if default.is_some() && BUILDER.contains(&name.as_str()) {
        let message = format!("every call has a `.{name}(..)` of its own: give the argument another name");
        return Err(Error::new_spanned(ident, message));
    }
    let ty = concrete(ty.to_token_stream(), own);
    Ok(Parameter::Argument(Box::new(Argument { ident, name, ty, default })))
}

/// Takes an attribute out.
fn take(attributes: &mut Vec<Attribute>, name: &str) -> Option<Attribute> {
    let index = attributes.iter().position(|attribute| attribute.path().is_ident(name))?;
    Some(attributes.remove(index))
}

/// The expression of `#[attribute(name = expression)]`.
fn named(attribute: &Attribute, name: &str) -> Result<Expr, Error> {
    let hint = format!("this is written `#[{}({name} = ..)]`", attribute.path().to_token_stream());
    let list = attribute.meta.require_list().map_err(|_| Error::new_spanned(attribute, &hint))?;
    list.parse_args_with(|input: ParseStream| {
        let written: Ident = input.parse().map_err(|error| Error::new(error.span(), &hint))?;
        if written != name {
            return Err(Error::new(written.span(), &hint));
        }
        input.parse::<Token![=]>().map_err(|error| Error::new(error.span(), &hint))?;
        input.parse()
    })
}

/// What was refused so far.
#[derive(Default)]
struct Refusals(Option<Error>);

impl Refusals {
    fn add(&mut self, at: impl ToTokens, message: impl std::fmt::Display) {
        self.note(Err::<(), _>(Error::new_spanned(at, message)));
    }

    fn note<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        match &mut self.0 {
            None => self.0 = Some(error),
            Some(errors) => errors.combine(error),
        }
        None
    }

    fn end(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(block: &str) -> String {
        let mut block = syn::parse_str(block).unwrap();
        Service::read(&mut block).err().unwrap().to_string()
    }

    #[test]
    fn contract_that_nobody_elsewhere_can_keep_is_refused() {
        let refusal = refusal("impl Solver { pub unsafe fn trust(&self) {} }");
        assert_eq!(refusal, "a remote method can't be unsafe: nobody elsewhere could keep its contract");
    }

    #[test]
    fn what_is_not_public_or_has_no_receiver_is_left_alone() {
        let block = "impl Solver {
            pub fn new<T>(start: &T) -> Self {}
            fn private(self) {}
            pub(crate) fn internal<T>(&self, from: &T) {}
            pub const ZERO: u8 = 0;
            pub fn solve(&self) {}
        }";
        let service = Service::read(&mut syn::parse_str(block).unwrap()).ok().unwrap();
        assert_eq!(service.methods.len(), 1);
        assert_eq!(service.methods[0].name, "solve");
    }

    #[test]
    fn twins_of_which_conditions_choose_one_are_no_twins() {
        let block = "impl Solver {
            #[cfg(unix)] pub fn solve(&self) {}
            #[cfg(not(unix))] pub fn solve(&self) {}
        }";
        assert!(Service::read(&mut syn::parse_str(block).unwrap()).is_ok());
    }
}
