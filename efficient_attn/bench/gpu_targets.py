"""GPUs to compile for where there is none, as XLA describes them.

Figures are those of the specifications that come with XLA (``xla/backends/gpu/target_config/specs``); the versions of driver and
libraries are any that the compiler takes.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Target:
    """What differs between two generations."""

    name: str
    capability: str
    architecture: str
    """What ``ptxas`` calls it."""
    cores: int
    fpus_per_core: int
    shared_memory_per_core: int
    """Bytes."""
    l2_cache: int
    """Bytes."""
    memory: int
    """Bytes."""
    bandwidth: int
    """Bytes per second."""
    clock_ghz: float

    def description(self) -> str:
        """XLA's text form, for ``jax.experimental.topologies.get_topology_desc``."""
        return f"""
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_core: {self.shared_memory_per_core}
  shared_memory_per_block_optin: {self.shared_memory_per_core - 1024}
  core_count: {self.cores} fpus_per_core: {self.fpus_per_core}
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: {self.bandwidth} l2_cache_size: {self.l2_cache} clock_rate_ghz: {self.clock_ghz}
  device_memory_size: {self.memory}
  cuda_compute_capability {{ {self.capability} }}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  device_vendor: "NVIDIA Corporation" device_address_bits: 64 pcie_bandwidth: 34359738368 ecc_enabled: true
  name: "{self.name}" driver_version: "12.9.0" runtime_version: "12.9.0" compile_time_toolkit_version: "12.9.0"
  dnn_version: "9.10.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{self.name}"
"""


TARGETS = {
    "A100": Target(
        "NVIDIA A100-SXM4-80GB",
        "major: 8 feature_extension: NONE",
        "sm_80",
        cores=108,
        fpus_per_core=64,
        shared_memory_per_core=167936,
        l2_cache=41943040,
        memory=85100068864,
        bandwidth=2039040000000,
        clock_ghz=1.41,
    ),
    "H100": Target(
        "NVIDIA H100 80GB HBM3",
        "major: 9 feature_extension: ACCELERATED_FEATURES",
        "sm_90a",
        cores=132,
        fpus_per_core=128,
        shared_memory_per_core=233472,
        l2_cache=52428800,
        memory=84942979072,
        bandwidth=3352320000000,
        clock_ghz=1.98,
    ),
}
