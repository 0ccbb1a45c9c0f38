/** The images of the end-to-end run, as data: images, layers and files refer to each other by name. */

/** The keys are in the order that image tools write: an index that a tool assembles again has the same bytes. */
export interface Platform {
  readonly architecture: string;
  readonly os: string;
  readonly 'os.features'?: readonly string[];
}

export type FileSource =
  /** The first file of a Debian package whose path matches. For a meta package, the package that it depends on. */
  | {
      readonly kind: 'debian';
      readonly package: string;
      readonly architecture: 'amd64' | 'arm64';
      readonly path: RegExp;
    }
  /** A cpio archive with busybox and this `/init`. */
  | { readonly kind: 'initramfs'; readonly busybox: string; readonly init: string }
  | { readonly kind: 'noise'; readonly seed: string; readonly mebibytes: number };

export interface LayerSource {
  readonly gzip: boolean;
  readonly entries: readonly { readonly path: string; readonly file?: string; readonly linkTo?: string }[];
  /** Annotations of the layer's descriptor, where Unikraft's tools name the file. */
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface ManifestSource {
  readonly platform: Platform;
  readonly command: readonly string[];
  readonly layers: readonly string[];
  /** Whether the config's descriptor repeats the platform, as Unikraft's tools write it. */
  readonly platformInConfigDescriptor?: boolean;
}

export interface ImageSource {
  /** A single manifest, or an index of several. */
  readonly kind: 'index' | 'manifest';
  readonly manifests: readonly ManifestSource[];
}

const BUSYBOX = /^(?:usr\/)?bin\/busybox$/;

export const FILES: Readonly<Record<string, FileSource>> = {
  kernel: { kind: 'debian', package: 'linux-image-cloud-amd64', architecture: 'amd64', path: /^boot\/vmlinuz-/ },
  'busybox-amd64': { kind: 'debian', package: 'busybox-static', architecture: 'amd64', path: BUSYBOX },
  'busybox-arm64': { kind: 'debian', package: 'busybox-static', architecture: 'arm64', path: BUSYBOX },
  initrd: { kind: 'initramfs', busybox: 'busybox-amd64', init: '#!/bin/sh\necho "Hello from Berth"\nexec /bin/sh\n' },
  'changed-initrd': {
    kind: 'initramfs',
    busybox: 'busybox-amd64',
    init: '#!/bin/sh\necho "Hello again"\nexec /bin/sh\n',
  },
  noise: { kind: 'noise', seed: 'berth', mebibytes: 600 },
};

const ROOTFS_LINKS = ['sh', 'ls', 'cat', 'httpd'].map((applet) => ({ path: `bin/${applet}`, linkTo: 'busybox' }));

const KERNEL_PATH = '/unikraft/bin/kernel';
const INITRD_PATH = '/unikraft/bin/initrd';

function initrdLayer(file: string): LayerSource {
  return {
    gzip: false,
    entries: [{ path: INITRD_PATH, file }],
    annotations: { 'org.unikraft.kernel.initrd': INITRD_PATH },
  };
}

export const LAYERS: Readonly<Record<string, LayerSource>> = {
  kernel: {
    gzip: false,
    entries: [{ path: KERNEL_PATH, file: 'kernel' }],
    annotations: { 'org.unikraft.kernel.image': KERNEL_PATH },
  },
  initrd: initrdLayer('initrd'),
  'changed-initrd': initrdLayer('changed-initrd'),
  'rootfs-amd64': { gzip: true, entries: [{ path: 'bin/busybox', file: 'busybox-amd64' }, ...ROOTFS_LINKS] },
  'rootfs-arm64': { gzip: true, entries: [{ path: 'bin/busybox', file: 'busybox-arm64' }, ...ROOTFS_LINKS] },
  noise: { gzip: false, entries: [{ path: 'noise', file: 'noise' }] },
};

const KRAFTCLOUD: Platform = {
  architecture: 'x86_64',
  os: 'kraftcloud',
  'os.features': [
    'CONFIG_LIBVFSCORE_AUTOMOUNT_CI=y',
    'CONFIG_LIBUKBUS_PCI=y',
    'CONFIG_LIBUKNETDEV=y',
    'CONFIG_PAGING=y',
  ],
};

function unikraft(initrd: string): ImageSource {
  const layers = ['kernel', initrd];
  return {
    kind: 'index',
    manifests: [{ platform: KRAFTCLOUD, command: ['/init'], layers, platformInConfigDescriptor: true }],
  };
}

export type ImageName = 'unikraft' | 'changed-unikraft' | 'multi-platform' | 'large';

export const IMAGES: Readonly<Record<ImageName, ImageSource>> = {
  unikraft: unikraft('initrd'),
  'changed-unikraft': unikraft('changed-initrd'),
  'multi-platform': {
    kind: 'index',
    manifests: [
      { platform: { architecture: 'amd64', os: 'linux' }, command: ['/bin/sh'], layers: ['rootfs-amd64'] },
      { platform: { architecture: 'arm64', os: 'linux' }, command: ['/bin/sh'], layers: ['rootfs-arm64'] },
    ],
  },
  large: {
    kind: 'manifest',
    manifests: [{ platform: { architecture: 'amd64', os: 'linux' }, command: ['/noise'], layers: ['noise'] }],
  },
};
