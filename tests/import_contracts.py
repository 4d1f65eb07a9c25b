"""Two rules for import-linter: what a part of the code may import, and who may import a library."""

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class ImportsOnlyContract(Contract):
    """Check that `importers`, with all modules in them, import only `allowed` ones, with all modules in these."""

    type_name = "imports_only"

    importers = fields.ListField(subfield=fields.ModuleField())
    allowed = fields.ListField(subfield=fields.ModuleField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Return whether the contract is kept, with every import that breaks it."""
        allowed = tuple(module.name for module in self.allowed)
        roots = [module.name for module in self.importers]
        importers = {name for root in roots for name in {root} | graph.find_descendants(root)}
        found = sorted(
            (importer, imported)
            for importer in importers
            for imported in graph.find_modules_directly_imported_by(importer)
            if not _is_in(imported, allowed)
        )
        return ContractCheck(kept=not found, metadata={"imports": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each import that breaks the contract."""
        _print_imports(check)


class ReservedContract(Contract):
    """Check that `libraries`, used or not by now, are imported by `importers` alone, with all modules in them."""

    type_name = "reserved"

    libraries = fields.ListField(subfield=fields.StringField())
    importers = fields.ListField(subfield=fields.ModuleField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Return whether the contract is kept, with every import that breaks it."""
        importers = tuple(module.name for module in self.importers)
        found = sorted(
            (importer, library)
            for library in self.libraries
            if library in graph.modules
            for importer in graph.find_modules_that_directly_import(library)
            if not _is_in(importer, importers)
        )
        return ContractCheck(kept=not found, metadata={"imports": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each import that breaks the contract."""
        _print_imports(check)


def _is_in(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _print_imports(check: ContractCheck) -> None:
    for importer, imported in check.metadata["imports"]:
        output.print_error(f"{importer} -> {imported} is not allowed", bold=False)
