//! What types say: whether a value can travel, whether a method can fail.

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::visit::Visit;
use syn::{Error, GenericArgument, PathArguments, Type, TypeImplTrait, TypeReference};

/// Refuses types that are not owned, or not known.
pub(crate) fn owned(ty: &Type, why: &str, verb: &str) -> Result<(), Error> {
    let mut found = Found { why, verb, error: None };
    found.visit_type(ty);
    found.error.map_or(Ok(()), Err)
}

struct Found<'a> {
    why: &'a str,
    verb: &'a str,
    error: Option<Error>,
}

impl<'ast> Visit<'ast> for Found<'_> {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        let instead = instead(&reference.elem);
        let message = format!("{} and is owned: {} `{instead}`", self.why, self.verb);
        self.error.get_or_insert_with(|| Error::new_spanned(reference, message));
    }

    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        let message = format!("{}, where its type must be known: {} a concrete one", self.why, self.verb);
        self.error.get_or_insert_with(|| Error::new_spanned(ty, message));
    }
}

/// The owned type that stands for a borrowed one.
fn instead(borrowed: &Type) -> String {
    match borrowed {
        Type::Slice(slice) => {
            let element = slice.elem.to_token_stream();
            format!("Vec<{element}>` or `Array<{element}>")
        }
        Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
        Type::Path(path) if path.path.is_ident("Path") => "PathBuf".to_owned(),
        other => other.to_token_stream().to_string(),
    }
}

/// Whether this is `&Call`, which is no argument.
pub(crate) fn is_call(ty: &Type) -> bool {
    let Type::Reference(TypeReference { mutability: None, elem, .. }) = ty else { return false };
    let Type::Path(path) = &**elem else { return false };
    path.path.segments.last().is_some_and(|last| last.ident == "Call")
}

/// The type of the value, if this is a `Result`.
pub(crate) fn fallible(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(value) => Some(value),
        _ => None,
    }
}

/// Tokens of a type in which `Self` is written out, to be used elsewhere.
pub(crate) fn concrete(tokens: TokenStream, own: &Type) -> TokenStream {
    let replaced = tokens.into_iter().map(|token| match token {
        TokenTree::Ident(ident) if ident == "Self" => quote!(#own),
        TokenTree::Group(group) => {
            let mut new = Group::new(group.delimiter(), concrete(group.stream(), own));
            new.set_span(group.span());
            TokenTree::from(new).into()
        }
        other => other.into(),
    });
    replaced.collect()
}
