"""Settings of recognition/train.py, in the form they have had since 2019.

    cp sample_config.py config.py      # here or in recognition/; then edit your copy
    cd recognition && python -u train.py --network r100 --loss arcface --dataset emore

`config` holds what has no flag, `default` the flags' defaults. The entries named by --loss, --network and --dataset are
laid over both, in this order, and a flag given on the command line wins. recognition/ has a copy of the root's file.

A recipe for small data (about four minutes on two CPU cores; `make demo` makes the data set):

    python -u train.py --network y1 --loss cosface16 --dataset orl

`dataset.orl` is 30 people with ten photographs each; its entry holds what 300 images need, explained beside it.
"""

import os

from easydict import EasyDict as edict  # noqa: N813 (its name in every config.py since 2019)

config = edict()

# network
config.bn_mom = 0.9  # weight of the OLD value in BatchNorm's moving statistics
config.workspace = 256  # written into the graph; only MXNet reads it (MB)
config.emb_size = 512
config.net_se = 0
config.net_act = "prelu"
config.net_unit = 3
config.net_input = 1
config.net_blocks = [1, 4, 6, 2]
config.net_output = "E"
config.net_multiplier = 1.0
config.memonger = False  # never worked in 2019; True is refused
config.count_flops = True

# loss
config.ce_loss = True  # also report the cross-entropy, as `lossvalue`
config.fc7_lr_mult = 1.0  # these two only count under --wd-scope weights (as in 2019, when they had no effect)
config.fc7_wd_mult = 1.0
config.fc7_no_bias = False

# training
config.ckpt_embedding = True  # save the network up to the embedding, without the class centres
config.val_targets = ["lfw", "cfp_fp", "agedb_30"]
config.max_steps = 0  # 0: until stopped

# data
config.data_rand_mirror = True
config.data_cutoff = False  # or the side in pixels of a grey square put over half of the images
config.data_color = 0  # 1: jitter; 2: jitter and JPEG artefacts
config.data_images_filter = 0  # leave out identities with fewer images

network = edict()

network.r100 = edict()
network.r100.net_name = "fresnet"
network.r100.num_layers = 100

network.r100fc = edict()
network.r100fc.net_name = "fresnet"
network.r100fc.num_layers = 100
network.r100fc.net_output = "FC"

network.r50 = edict()
network.r50.net_name = "fresnet"
network.r50.num_layers = 50

network.r50v1 = edict()
network.r50v1.net_name = "fresnet"
network.r50v1.num_layers = 50
network.r50v1.net_unit = 1

network.d169 = edict()
network.d169.net_name = "fdensenet"
network.d169.num_layers = 169
network.d169.per_batch_size = 64
network.d169.densenet_dropout = 0.0

network.d201 = edict()
network.d201.net_name = "fdensenet"
network.d201.num_layers = 201
network.d201.per_batch_size = 64
network.d201.densenet_dropout = 0.0

network.y1 = edict()
network.y1.net_name = "fmobilefacenet"
network.y1.emb_size = 128
network.y1.net_output = "GDC"

network.y2 = edict()
network.y2.net_name = "fmobilefacenet"
network.y2.emb_size = 256
network.y2.net_output = "GDC"
network.y2.net_blocks = [2, 8, 16, 4]

network.m1 = edict()
network.m1.net_name = "fmobilenet"
network.m1.emb_size = 256
network.m1.net_output = "GDC"
network.m1.net_multiplier = 1.0

network.m05 = edict()
network.m05.net_name = "fmobilenet"
network.m05.emb_size = 256
network.m05.net_output = "GDC"
network.m05.net_multiplier = 0.5

network.mnas = edict()
network.mnas.net_name = "fmnasnet"
network.mnas.emb_size = 256
network.mnas.net_output = "GDC"
network.mnas.net_multiplier = 1.0

network.mnas05 = edict()
network.mnas05.net_name = "fmnasnet"
network.mnas05.emb_size = 256
network.mnas05.net_output = "GDC"
network.mnas05.net_multiplier = 0.5

network.mnas025 = edict()
network.mnas025.net_name = "fmnasnet"
network.mnas025.emb_size = 256
network.mnas025.net_output = "GDC"
network.mnas025.net_multiplier = 0.25

# The networks of src/train_softmax.py; src_ where another network above has their name of 2019.

network.src_r101 = edict()  # from 101 layers on they have bottlenecks
network.src_r101.net_family = "src"
network.src_r101.net_name = "fresnet"
network.src_r101.num_layers = 101

network.src_r152 = edict()
network.src_r152.net_family = "src"
network.src_r152.net_name = "fresnet"
network.src_r152.num_layers = 152

network.src_y1 = edict()
network.src_y1.net_family = "src"
network.src_y1.net_name = "fmobilefacenet"

network.src_m1 = edict()
network.src_m1.net_family = "src"
network.src_m1.net_name = "fmobilenet"

network.m2 = edict()
network.m2.net_family = "src"
network.m2.net_name = "fmobilenetv2"

network.src_d121 = edict()
network.src_d121.net_family = "src"
network.src_d121.net_name = "fdensenet"
network.src_d121.num_layers = 121

network.src_d169 = edict()
network.src_d169.net_family = "src"
network.src_d169.net_name = "fdensenet"
network.src_d169.num_layers = 169

network.dpn68 = edict()
network.dpn68.net_family = "src"
network.dpn68.net_name = "fdpn"
network.dpn68.num_layers = 68

network.dpn92 = edict()
network.dpn92.net_family = "src"
network.dpn92.net_name = "fdpn"
network.dpn92.num_layers = 92

network.dpn107 = edict()
network.dpn107.net_family = "src"
network.dpn107.net_name = "fdpn"
network.dpn107.num_layers = 107

network.dpn131 = edict()
network.dpn131.net_family = "src"
network.dpn131.net_name = "fdpn"
network.dpn131.num_layers = 131

network.i = edict()
network.i.net_family = "src"
network.i.net_name = "finception_resnet_v2"

network.n = edict()
network.n.net_family = "src"
network.n.net_name = "fnasnet"

network.x = edict()
network.x.net_family = "src"
network.x.net_name = "fxception"

network.s20 = edict()
network.s20.net_family = "src"
network.s20.net_name = "spherenet"
network.s20.num_layers = 20

network.s36 = edict()
network.s36.net_family = "src"
network.s36.net_name = "spherenet"
network.s36.num_layers = 36

network.s64 = edict()
network.s64.net_family = "src"
network.s64.net_name = "spherenet"
network.s64.num_layers = 64

dataset = edict()

dataset.emore = edict()
dataset.emore.dataset = "emore"
dataset.emore.dataset_path = "../datasets/faces_emore"
dataset.emore.num_classes = 85742
dataset.emore.image_shape = (112, 112, 3)
dataset.emore.val_targets = ["lfw", "cfp_fp", "agedb_30"]

dataset.retina = edict()
dataset.retina.dataset = "retina"
dataset.retina.dataset_path = "../datasets/ms1m-retinaface-t1"
dataset.retina.num_classes = 93431
dataset.retina.image_shape = (112, 112, 3)
dataset.retina.val_targets = ["lfw", "cfp_fp", "agedb_30"]

# The recipe for 300 images. With so few people the network has seen everything after a few epochs; what counts is how
# little it learns by heart. So: small batches for many steps, jitter and grey squares to make images differ, a cosine
# margin at a low scale (loss.cosface16) instead of 64, and few epochs. Every model is kept (ckpt 2) and the last one
# judged: the best of them by the very pairs that judge it would flatter the recipe.
dataset.orl = edict()
dataset.orl.dataset = "orl"
dataset.orl.dataset_path = "datasets/orl"
dataset.orl.num_classes = 30
dataset.orl.image_shape = (112, 112, 3)
dataset.orl.val_targets = ["orl"]
dataset.orl.data_color = 1
dataset.orl.data_cutoff = 56
dataset.orl.per_batch_size = 30
dataset.orl.lr_steps = "180,254"
dataset.orl.max_steps = 299
dataset.orl.verbose = 60
dataset.orl.frequent = 5
dataset.orl.ckpt = 2

loss = edict()

loss.softmax = edict()
loss.softmax.loss_name = "softmax"

loss.nsoftmax = edict()
loss.nsoftmax.loss_name = "margin_softmax"
loss.nsoftmax.loss_s = 64.0
loss.nsoftmax.loss_m1 = 1.0
loss.nsoftmax.loss_m2 = 0.0
loss.nsoftmax.loss_m3 = 0.0

loss.sphereface = edict()
loss.sphereface.loss_name = "margin_softmax"
loss.sphereface.loss_s = 64.0
loss.sphereface.loss_m1 = 1.5
loss.sphereface.loss_m2 = 0.0
loss.sphereface.loss_m3 = 0.0

loss.arcface = edict()
loss.arcface.loss_name = "margin_softmax"
loss.arcface.loss_s = 64.0
loss.arcface.loss_m1 = 1.0
loss.arcface.loss_m2 = 0.5
loss.arcface.loss_m3 = 0.0

loss.cosface = edict()
loss.cosface.loss_name = "margin_softmax"
loss.cosface.loss_s = 64.0
loss.cosface.loss_m1 = 1.0
loss.cosface.loss_m2 = 0.0
loss.cosface.loss_m3 = 0.35

loss.cosface16 = edict()  # for small data: 64 asks for cosines that a few hundred images cannot teach
loss.cosface16.loss_name = "margin_softmax"
loss.cosface16.loss_s = 16.0
loss.cosface16.loss_m1 = 1.0
loss.cosface16.loss_m2 = 0.0
loss.cosface16.loss_m3 = 0.2

loss.combined = edict()
loss.combined.loss_name = "margin_softmax"
loss.combined.loss_s = 64.0
loss.combined.loss_m1 = 1.0
loss.combined.loss_m2 = 0.3
loss.combined.loss_m3 = 0.2

loss.threshold = edict()  # ArcFace that keeps falling beyond 180 degrees (src/train_softmax.py's loss type 4)
loss.threshold.loss_name = "threshold_margin"
loss.threshold.loss_s = 64.0
loss.threshold.loss_m2 = 0.5
loss.threshold.loss_easy_margin = False

loss.easy_margin = edict()  # ArcFace within 90 degrees, no margin beyond (type 4 with --easy-margin 1)
loss.easy_margin.loss_name = "threshold_margin"
loss.easy_margin.loss_s = 64.0
loss.easy_margin.loss_m2 = 0.5
loss.easy_margin.loss_easy_margin = True

loss.intra = edict()  # ArcFace and the mean angle to the own centre, in half turns (type 6)
loss.intra.loss_name = "intra"
loss.intra.loss_s = 64.0
loss.intra.loss_m2 = 0.5
loss.intra.loss_intra_weight = 1.0

loss.inter = edict()  # ArcFace and the mean cosine between centres (type 7); all classes, so no --sample-rate
loss.inter.loss_name = "inter"
loss.inter.loss_s = 64.0
loss.inter.loss_m2 = 0.5
loss.inter.loss_inter_weight = 1.0

loss.centre = edict()  # softmax and the distances to the mean of the class (Wen et al. 2016)
loss.centre.loss_name = "centre_softmax"
loss.centre.loss_centre_weight = 0.003
loss.centre.loss_centre_alpha = 0.5

loss.sub_centre = edict()  # ArcFace to the nearest of several centres a class, for noisy data (Deng et al. 2020)
loss.sub_centre.loss_name = "sub_centre"
loss.sub_centre.loss_s = 64.0
loss.sub_centre.loss_m2 = 0.5
loss.sub_centre.loss_sub_centres = 3

loss.curricularface = edict()  # ArcFace, and harder negatives count more as training goes on (Huang et al. 2020)
loss.curricularface.loss_name = "curricularface"
loss.curricularface.loss_s = 64.0
loss.curricularface.loss_m2 = 0.5

loss.magface = edict()  # an angle that grows with the embedding's length, which tells quality (Meng et al. 2021)
loss.magface.loss_name = "magface"
loss.magface.loss_s = 64.0
loss.magface.loss_la = 10.0  # lengths from la to ua have angles from lm to um
loss.magface.loss_ua = 110.0
loss.magface.loss_lm = 0.45
loss.magface.loss_um = 0.8
loss.magface.loss_lambda_g = 35.0  # the weight of the reward for length

loss.adaface = edict()  # between CosFace and ArcFace by the embedding's length, for poor images (Kim et al. 2022)
loss.adaface.loss_name = "adaface"
loss.adaface.loss_s = 64.0
loss.adaface.loss_m = 0.4
loss.adaface.loss_h = 0.333

loss.triplet = edict()
loss.triplet.loss_name = "triplet"
loss.triplet.images_per_identity = 5
loss.triplet.triplet_alpha = 0.3
loss.triplet.triplet_bag_size = 7200
loss.triplet.triplet_max_ap = 0.0
loss.triplet.per_batch_size = 60
loss.triplet.lr = 0.05

loss.atriplet = edict()
loss.atriplet.loss_name = "atriplet"
loss.atriplet.images_per_identity = 5
loss.atriplet.triplet_alpha = 0.35
loss.atriplet.triplet_bag_size = 7200
loss.atriplet.triplet_max_ap = 0.0
loss.atriplet.per_batch_size = 60
loss.atriplet.lr = 0.05

# defaults of the flags
default = edict()
default.network = "r100"
default.pretrained = ""
default.pretrained_epoch = 1
default.dataset = "emore"
default.loss = "arcface"
default.frequent = 20
default.verbose = 2000
default.kvstore = "device"
default.end_epoch = 10000  # read by nobody, as in 2019
default.lr = 0.1
default.wd = 0.0005
default.mom = 0.9
default.per_batch_size = 128
default.ckpt = 3
default.lr_steps = "100000,160000,220000"
default.models_root = "./models"


def generate_config(_network, _dataset, _loss):
    """Lay the chosen entries over `config`, and over `default` where they name a flag."""
    for entry in (loss[_loss], network[_network], dataset[_dataset]):
        for key, value in entry.items():
            config[key] = value
            if key in default:
                default[key] = value
    config.loss = _loss
    config.network = _network
    config.dataset = _dataset
    config.num_workers = int(os.environ.get("DMLC_NUM_WORKER", 1))
