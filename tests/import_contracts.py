"""A rule for import-linter: some modules import nothing but what is named."""

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
            if not any(imported == name or imported.startswith(f"{name}.") for name in allowed)
        )
        return ContractCheck(kept=not found, metadata={"imports": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each import that breaks the contract."""
        for importer, imported in check.metadata["imports"]:
            output.print_error(f"{importer} -> {imported} is not allowed", bold=False)
