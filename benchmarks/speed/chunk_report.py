"""How the figures of `irasim bench chunk` are printed."""

from typing import Any

from benchmarks.report import interval, number, table


def tables(results: dict[str, Any]) -> str:
    """The report as printed, in Markdown."""
    config, peaks = results["config"], results["matmul_tflops"]
    parts = [
        f"{results['model']}, {results['parameters'] / 1e6:.1f} M parameters, {config['height']} x "
        f"{config['width']} pixels, {config['frames']} frames, {config['batch']} at once; "
        f"{results['hardware']}. Median of {config['turns']} chunks, variants interleaved. A large "
        f"matrix product reaches {peaks['float32']:.3g} TFLOP/s in float32 (as set: TF32 "
        f"{'on' if results['tf32'] else 'off'}), {peaks['bf16']:.3g} in bf16. A table computes "
        "adaLN parameters of all steps at once, as bf16 does too. PSNR is of latents, against the "
        "range of those of float32."
    ]
    parts += [_sampler(sampler, peaks) for sampler in results["samplers"]]
    if results["decode"]:
        parts.append(_decode(results["decode"]))
    return "\n\n".join(parts)


def _sampler(sampler: dict[str, Any], peaks: dict[str, float]) -> str:
    header = ("variant", "ms/chunk", "range", "frames/s", "x float32", "95 %")
    header += ("TFLOP/s", "% of its products", "% of a large one", "PSNR dB")
    rows = [
        (
            row["variant"],
            number(row["ms_per_chunk"], 1),
            interval(row["ms_per_chunk_range"], 1),
            number(row["frames_per_second"], 2),
            number(row["times_float32"]["ratio"], 3),
            interval(row["times_float32"]["ratio_interval"], 3),
            f"{row['tflops']:.3g}",
            number(100 * row["tflops"] / row["products_ceiling_tflops"], 0),
            number(100 * row["tflops"] / peaks[row["precision"]], 0),
            "equal" if row["psnr_to_float32_db"] is None else number(row["psnr_to_float32_db"], 1),
        )
        for row in sampler["variants"]
    ]
    title = (
        f"{sampler['sampler']}, {sampler['num_steps']} steps, {sampler['network_evaluations']} "
        "network evaluations, without decoding:"
    )
    return f"{title}\n\n{table(header, rows)}"


def _decode(decode: list[dict[str, Any]]) -> str:
    rows = [
        (
            str(row["frames_at_once"]),
            number(row["ms_per_frame"], 2),
            number(1000 / row["ms_per_frame"], 1),
            number(row["peak_cuda_mib"], 0),
        )
        for row in decode
    ]
    header = ("frames at once", "ms/frame", "frames/s", "peak CUDA MiB")
    return f"Decoding, by an autoencoder of SDXL's shape, float32:\n\n{table(header, rows)}"
